/** `kvent completion`: prints the completion of a shell, made of the table of commands. */
import { UsageError } from '../input/usage-error.js';
import { dataLine, type Report } from '../output/report.js';
import type { CommandSpec, OptionSpec } from './declaration.js';

interface Options {
  readonly shell: string;
}

export async function completion({ shell }: Options, commands: readonly CommandSpec[]): Promise<Report> {
  const script = scripts[shell]?.(commands);
  if (script === undefined)
    throw new UsageError(`The shell must be ${Object.keys(scripts).join(' or ')}; got ${shell}.`);
  return { json: { command: 'completion', shell, script: script.join('\n') }, text: script.map(dataLine) };
}

const scripts: Readonly<Record<string, (commands: readonly CommandSpec[]) => readonly string[]>> = {
  bash: bashScript,
  zsh: zshScript,
};

/** `--limit` for `--limit <rows>`. */
const switchOf = ({ flags }: OptionSpec): string => flags.split(' ')[0] ?? flags;

const firstWords = (commands: readonly CommandSpec[]): readonly string[] => [
  ...new Set(commands.map(({ name }) => name.split(' ')[0] ?? name)),
];

/** The second words of each first word that has some: `stream` has `ls` and `show`. */
function groupsOf(commands: readonly CommandSpec[]): ReadonlyMap<string, readonly string[]> {
  const groups = new Map<string, string[]>();
  for (const { name } of commands) {
    const [first = '', second] = name.split(' ');
    if (second !== undefined) groups.set(first, [...(groups.get(first) ?? []), second]);
  }
  return groups;
}

function bashScript(commands: readonly CommandSpec[]): readonly string[] {
  return [
    '_kvent() {',
    '  local current="${COMP_WORDS[COMP_CWORD]}" command="${COMP_WORDS[1]}" candidates=',
    '  if (( COMP_CWORD == 1 )); then',
    `    candidates="${firstWords(commands).join(' ')}"`,
    ...Array.from(groupsOf(commands), ([first, seconds]) => [
      `  elif (( COMP_CWORD == 2 )) && [[ $command == ${first} ]]; then`,
      `    candidates="${seconds.join(' ')}"`,
    ]).flat(),
    '  elif [[ $current == -* ]]; then',
    '    case "$command ${COMP_WORDS[2]}" in',
    ...commands.map(
      ({ name, options }) =>
        `      ${name.includes(' ') ? `'${name}'` : `'${name} '*`}) candidates="${options.map(switchOf).join(' ')}" ;;`,
    ),
    '    esac',
    '  else',
    '    COMPREPLY=($(compgen -f -- "$current"))',
    '    return',
    '  fi',
    '  COMPREPLY=($(compgen -W "$candidates" -- "$current"))',
    '}',
    'complete -o filenames -F _kvent kvent',
  ];
}

function zshScript(commands: readonly CommandSpec[]): readonly string[] {
  const described = (names: readonly (readonly [string, string])[]): string =>
    names.map(([name, text]) => quoted(`${name.replaceAll(':', '\\:')}:${text}`)).join(' ');
  const groups = groupsOf(commands);
  const summaryOf = (name: string): string =>
    commands.find((each) => each.name === name)?.summary ?? `${groups.get(name)?.join(', ') ?? ''}`;
  return [
    '#compdef kvent',
    '_kvent() {',
    '  local -a candidates',
    '  if (( CURRENT == 2 )); then',
    `    candidates=(${described(firstWords(commands).map((name) => [name, summaryOf(name)] as const))})`,
    ...Array.from(groups, ([first, seconds]) => [
      `  elif (( CURRENT == 3 )) && [[ $words[2] == ${first} ]]; then`,
      `    candidates=(${described(seconds.map((second) => [second, summaryOf(`${first} ${second}`)] as const))})`,
    ]).flat(),
    '  elif [[ $PREFIX == -* ]]; then',
    '    case "$words[2] $words[3]" in',
    ...commands.map(
      ({ name, options }) =>
        `      ${name.includes(' ') ? quoted(name) : `${quoted(`${name} `)}*`}) candidates=(${described(options.map((option) => [switchOf(option), option.text] as const))}) ;;`,
    ),
    '    esac',
    '  else',
    '    _files',
    '    return',
    '  fi',
    "  _describe 'kvent' candidates",
    '}',
    'compdef _kvent kvent',
  ];
}

/** A word of a shell script. */
const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
