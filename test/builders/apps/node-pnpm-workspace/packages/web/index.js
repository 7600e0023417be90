require('http').createServer((request, response) => { response.end(`The price is ${require('@shop/price').price(2)}`); }).listen(process.env.PORT);
