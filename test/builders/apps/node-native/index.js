const sum = require('./build/Release/sum.node');

require('http').createServer((request, response) => { response.end(`C says ${sum(20, 22)}`); }).listen(process.env.PORT);
