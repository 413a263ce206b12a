/**
 * Reads a statement as Postgres does, and finds every name in it that Postgres would look up in the
 * `search_path`: functions, operators, types, collations and tables that are not qualified by their
 * schema, and the shorthands that look an operator up without naming it.
 */

interface Token {
  readonly kind:
    | 'word'
    | 'quoted'
    | 'text'
    | 'number'
    | 'parameter'
    | 'operator'
    | 'qualified operator'
    | 'sign';
  readonly text: string;
}

const pattern =
  /\s+|operator\(pg_catalog\.[-+*/<>=|]+\)|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$\d+|\d+(?:\.\d+)?|[A-Za-z_][A-Za-z_0-9]*|::|[-+*/<>=~!@#%^&|`?]+|[(),;.[\]]/gy;

function tokensOf(statement: string): readonly Token[] {
  const tokens: Token[] = [];
  pattern.lastIndex = 0;
  for (let at = 0; at < statement.length; at = pattern.lastIndex) {
    pattern.lastIndex = at;
    const [text] = pattern.exec(statement) ?? [];
    if (text === undefined) throw new Error(`What is this? ${statement.slice(at, at + 40)}`);
    if (text.trim() !== '')
      tokens.push({ kind: kindOf(text), text: /^[A-Za-z_]\w*$/.test(text) ? text.toLowerCase() : text });
  }
  return tokens;
}

function kindOf(text: string): Token['kind'] {
  if (text.startsWith('operator(')) return 'qualified operator';
  if (text.startsWith("'")) return 'text';
  if (text.startsWith('"')) return 'quoted';
  if (text.startsWith('$')) return 'parameter';
  if (/^\d/.test(text)) return 'number';
  if (/^[A-Za-z_]/.test(text)) return 'word';
  return text === '::' || /^[(),;.[\]]$/.test(text) ? 'sign' : 'operator';
}

const words = (text: string): ReadonlySet<string> => new Set(text.split(' '));
/**
 * Words of the grammar that a parenthesis may follow: none of them names a function that is looked
 * up.
 */
const beforeParenthesis = words(
  'values coalesce greatest least exists any array over filter as materialized from key with conflict lateral and or not when then else on where by select case ordinality returning',
);
/** Words of the grammar that a literal may follow. `interval` is a type of the grammar. */
const beforeLiteral = words('then else when select and or interval on');
/**
 * Words of the grammar that stand before an operand, so that a minus behind them is part of a
 * number.
 */
const beforeOperand = words('then else when select and or case');
/** Each of them looks an operator or a function up by its bare name. */
const shorthands = words(
  'between like ilike similar nullif overlaps extract overlay position substring trim using_columns',
);
/** Types that are no words of the grammar. */
const lookedUpTypes = words(
  'text json jsonb bytea timestamptz timetz uuid regclass int2 int4 int8 float4 float8 bool',
);

/** What is not qualified, each with what stands around it. Nothing when all is. */
export function unqualifiedNames(statement: string): readonly string[] {
  const tokens = tokensOf(statement);
  const found: string[] = [];
  const views = new Set(
    tokens.flatMap(({ kind, text }, index) => (kind === 'word' && isView(tokens, index) ? [text] : [])),
  );
  /** For each open parenthesis, whether columns are being set within it. */
  const setting: boolean[] = [false];
  const at = (index: number): string => tokens[index]?.text ?? '';
  const note = (index: number, what: string): void => {
    const around = tokens.slice(Math.max(0, index - 4), index + 5).map(({ text }) => text);
    found.push(`${what}: … ${around.join(' ')} …`);
  };
  const isPolicy = at(0) === 'create' && at(1) === 'policy';
  const isQualified = (index: number): boolean => at(index - 1) === '.' && at(index - 2) === 'pg_catalog';

  for (const [index, { kind, text }] of tokens.entries()) {
    const [before, after] = [at(index - 1), at(index + 1)];
    if (text === '(') setting.push(false);
    if (text === ')') setting.pop();
    const last = setting.length - 1;
    if (text === 'set') setting[last] = true;
    if (['where', 'from', 'returning'].includes(text)) setting[last] = false;
    if (kind === 'operator') {
      const isStar = text === '*' && ['(', ',', 'select', '.'].includes(before);
      const isSet =
        text === '=' && (setting[last] === true || isSetting(tokens, index)) && isAssignment(tokens, index);
      const isSignOfNumber =
        text === '-' &&
        tokens[index + 1]?.kind === 'number' &&
        (tokens[index - 1]?.kind === 'qualified operator' ||
          ['(', ','].includes(before) ||
          beforeOperand.has(before));
      if (!isStar && !isSet && !isSignOfNumber) note(index, 'operator');
    }
    if (text === '::' && !(after === 'pg_catalog' && at(index + 2) === '.')) note(index, 'type');
    if (kind !== 'word') continue;
    if (text === 'collate' && after !== 'pg_catalog') note(index, 'collation');
    if (shorthands.has(text)) note(index, 'shorthand');
    if (text === 'in' && after === '(') note(index, 'shorthand');
    if (text === 'using' && after === '(' && !isPolicy) note(index, 'shorthand');
    if (text === 'distinct' && after === 'from') note(index, 'shorthand');
    if (text === 'case' && after !== 'when') note(index, 'shorthand');
    if (lookedUpTypes.has(text) && !isQualified(index)) note(index, 'type');
    if (
      after === '(' &&
      !isQualified(index) &&
      !beforeParenthesis.has(text) &&
      !(isPolicy && isCondition(text)) &&
      !isAlias(tokens, index)
    )
      note(index, 'function');
    if (tokens[index + 1]?.kind === 'text' && !isQualified(index) && !beforeLiteral.has(text))
      note(index, 'type');
    if (['from', 'join', 'into', 'update', 'table'].includes(text)) {
      const name = tokens[index + 1];
      const isTable = name?.kind === 'quoted' ? at(index + 2) === '.' : name?.text === 'pg_catalog';
      const isPart =
        name?.text === '(' ||
        ['lateral', 'rows', 'if', 'set', 'skip'].includes(name?.text ?? '') ||
        views.has(name?.text ?? '');
      // `for update`, `do update` and `distinct from` lock, write and compare what is named
      // elsewhere
      if (!isTable && !isPart && !['for', 'do', 'key', 'distinct'].includes(before)) note(index, 'table');
    }
  }
  return found;
}

/** `name as (…)`, `name as materialized (…)`, `with recursive name as (…)`. */
const isView = (tokens: readonly Token[], index: number): boolean =>
  tokens[index + 1]?.text === 'as' &&
  (tokens[index + 2]?.text === '(' || tokens[index + 2]?.text === 'materialized');

/** `… with ordinality o(db, co)`, `from (…) d(a, b)`. */
const isAlias = (tokens: readonly Token[], index: number): boolean =>
  ['ordinality', ')'].includes(tokens[index - 1]?.text ?? '');

/** A column, or the name of a setting, right before it, which nothing else belongs to. */
const isAssignment = (tokens: readonly Token[], index: number): boolean =>
  tokens[index - 1]?.kind === 'word' && ['set', ',', '(', 'local'].includes(tokens[index - 2]?.text ?? '');

/** `set local name = …`, `with (name = …)`. */
const isSetting = (tokens: readonly Token[], index: number): boolean =>
  tokens[index - 2]?.text === 'local' ||
  (tokens[index - 2]?.text === '(' && tokens[index - 3]?.text === 'with');

/** Of a policy of rows: `using (…) with check (…)`. */
const isCondition = (text: string): boolean => text === 'using' || text === 'check';
