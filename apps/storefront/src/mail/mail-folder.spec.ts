import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { MailFolder } from './mail-folder.js';

it('sends a mail once for an id, also from two shops at the same time', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'kvent-mails-'));
  try {
    const shops = [new MailFolder(join(folder, 'mails')), new MailFolder(join(folder, 'mails'))];
    const mail = { id: 'e-1', tenant: 'acme', order: 'o-1', subject: 'Your order', text: 'Thank you.' };
    const sent = await Promise.all([...shops, ...shops].map((shop) => shop.send(mail)));
    expect(sent.filter((isSent) => isSent)).toHaveLength(1);
    expect(await shops[0]?.send({ ...mail, text: 'Again.' })).toBe(false);
    expect(await readdir(join(folder, 'mails'))).toEqual(['e-1.json']);
    expect(JSON.parse(await readFile(join(folder, 'mails', 'e-1.json'), 'utf8'))).toEqual(mail);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
