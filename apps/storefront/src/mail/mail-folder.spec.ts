import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { MailFolder } from './mail-folder.js';

const mail = { id: 'e-1', tenant: 'acme', order: 'o-1', subject: 'Your order', text: 'Thank you.' };
let folder: string;
beforeEach(async () => void (folder = await mkdtemp(join(tmpdir(), 'kvent-mails-'))));
afterEach(async () => await rm(folder, { recursive: true, force: true }));

it('sends a mail once for an id, also from two shops at the same time', async () => {
  const shops = [new MailFolder(join(folder, 'mails')), new MailFolder(join(folder, 'mails'))];
  const sent = await Promise.all([...shops, ...shops].map((shop) => shop.send(mail)));
  expect(sent.filter((isSent) => isSent)).toHaveLength(1);
  expect(await shops[0]?.send({ ...mail, text: 'Again.' })).toBe(false);
  expect(await readdir(join(folder, 'mails'))).toEqual(['e-1.json']);
  expect(JSON.parse(await readFile(join(folder, 'mails', 'e-1.json'), 'utf8'))).toEqual(mail);
});

it('lets only the owner read the mails, whatever the umask is', async () => {
  const umask = process.umask(0);
  try {
    await new MailFolder(join(folder, 'var', 'mails')).send(mail);
  } finally {
    process.umask(umask);
  }
  const modes = ['var', 'var/mails', 'var/mails/e-1.json'].map(async (path) => {
    const { mode } = await stat(join(folder, path));
    return (mode & 0o777).toString(8);
  });
  // Windows has no modes
  if (process.platform !== 'win32') expect(await Promise.all(modes)).toEqual(['700', '700', '600']);
});
