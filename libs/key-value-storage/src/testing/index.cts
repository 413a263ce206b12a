/** @ts-ignore TS1479 under "module": "node16", whose Node could not require ES modules. */
import door = require('./index.js');
export = door;
