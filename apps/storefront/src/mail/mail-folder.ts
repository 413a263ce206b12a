import { randomUUID } from 'node:crypto';
import { link, mkdir, open, rm } from 'node:fs/promises';
import { join } from 'node:path';

interface Mail {
  /** Of the event: a mail is sent once for each id. */
  readonly id: string;
  readonly tenant: string | undefined;
  readonly order: string;
  readonly subject: string;
  readonly text: string;
}

/**
 * Stands for a mail server that recognises repetitions: a mail is a file named by its id. It is
 * written and synced under another name first, and the name is given once, so a file is whole and
 * never written again, whenever the process is killed. Only the owner of the process can read the
 * folder, which `send` creates, and the mails.
 */
export class MailFolder {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Returns whether it was sent now; `false` for a repetition. */
  async send(mail: Mail): Promise<boolean> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const draft = join(this.#directory, `.draft-${randomUUID()}`);
    try {
      await writeSynced(draft, `${JSON.stringify(mail)}\n`);
      await link(draft, join(this.#directory, `${mail.id}.json`));
      await syncDirectory(this.#directory);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      return false;
    } finally {
      await rm(draft, { force: true });
    }
  }
}

async function writeSynced(path: string, text: string): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
