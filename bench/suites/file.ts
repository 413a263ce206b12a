import { openGroupLog, openLineLog } from '../contenders/bare-log.js';
import { openLevelSync, openLevelUnsynced } from '../contenders/classic-level.js';
import { openKeyvFile } from '../contenders/keyv.js';
import { openKeyedFile } from '../contenders/kvent-keyed.js';
import { openJsonFile } from '../contenders/json-file.js';
import { openLowdb } from '../contenders/lowdb.js';
import { openUnstorage } from '../contenders/unstorage.js';
import { openWriteAndRename } from '../contenders/write-and-rename.js';
import type { Suite } from '../suite.js';

const byHand = 'temp + fsync + rename';

export const file: Suite = {
  name: 'file',
  keys: 1_000,
  ours: ['kvent, JSON file'],
  openings: [
    openJsonFile,
    openKeyedFile,
    openWriteAndRename,
    openLineLog,
    openGroupLog,
    openLevelSync,
    openLevelUnsynced,
    openKeyvFile,
    openLowdb,
    openUnstorage,
  ],
  works: [
    { verb: 'set', callers: 1, reference: byHand, aim: 2 },
    { verb: 'set', callers: 16, reference: byHand },
    { verb: 'set', callers: 64, reference: byHand, aim: 15 },
    {
      verb: 'save',
      callers: 1,
      reference: byHand,
      note: 'at the version that was read; the reference does not check',
    },
    {
      verb: 'save',
      callers: 64,
      reference: byHand,
      note: 'at the version that was read; the reference does not check',
    },
    { verb: 'update', callers: 1, reference: byHand, note: 'one hot key' },
    {
      verb: 'update',
      callers: 64,
      reference: byHand,
      note: 'one hot key; all but kvent and lowdb lose changes here',
    },
    { verb: 'get', callers: 1, reference: byHand },
  ],
};
