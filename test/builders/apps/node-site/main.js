import './style.css'; document.querySelector('#app').textContent = import.meta.env.MODE;
