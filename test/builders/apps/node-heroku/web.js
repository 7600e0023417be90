require('http').createServer((request, response) => { response.end(require('fs').readFileSync('steps.txt')); }).listen(process.env.PORT);
