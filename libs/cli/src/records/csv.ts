/** Records of CSV, by RFC 4180. */

/** The fields of a record; `undefined` if its quotes are misplaced. */
export function fieldsOf(record: string): readonly string[] | undefined {
  const fields: string[] = [];
  for (let at = 0; ; at += 1) {
    const end = record[at] === '"' ? quotedEnd(record, at) : plainEnd(record, at);
    const text = record.slice(at, end);
    if (/^".*"$/s.test(text) && text.length > 1) fields.push(text.slice(1, -1).replaceAll('""', '"'));
    else if (text.includes('"')) return undefined;
    else fields.push(text);
    if (end === record.length) return fields;
    if (record[end] !== ',') return undefined;
    at = end;
  }
}

function plainEnd(record: string, from: number): number {
  const end = record.indexOf(',', from);
  return end < 0 ? record.length : end;
}

/** Behind the closing quote; `from` is the opening one. */
function quotedEnd(record: string, from: number): number {
  let close = record.indexOf('"', from + 1);
  while (close >= 0 && record[close + 1] === '"') close = record.indexOf('"', close + 2);
  return close < 0 ? record.length : close + 1;
}

export const recordOf = (fields: readonly string[]): string =>
  fields.map((field) => (/[",\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field)).join(',');
