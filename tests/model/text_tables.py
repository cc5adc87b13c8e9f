"""Writes the tables of model/text from Python's own Unicode data.

    pip install ftfy==6.1.1 regex              # Python 3.11, whose Unicode is 14
    python tests/model/text_tables.py model/text
"""

import html.entities
import sys
import unicodedata

import ftfy.bad_codecs  # noqa: F401, registers the sloppy encodings
import regex
from ftfy.chardata import HTML_ENTITIES

HEAD = '// Made by tests/model/text_tables.py; not meant to be read.\n// clang-format off\n'
ALL = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def wrap(items, width=118):
    lines = ['']
    for item in items:
        if len(lines[-1]) + len(item) + 1 > width:
            lines.append('')
        lines[-1] += item + ' '
    return [line.rstrip() for line in lines]


def array(kind, name, items, comment=''):
    rows = ''.join('  ' + line + '\n' for line in wrap(items))
    return f'constexpr {kind} {name}[] = {{{comment}\n{rows}}};\n'


def row(*fields):
    return '{' + ', '.join(fields) + '},'


def runs(values):
    """{code point: value} as (first, last, value) of neighbours with the same one."""
    out = []
    for c, v in sorted(values.items()):
        if out and out[-1][1] == c - 1 and out[-1][2] == v:
            out[-1][1] = c
        else:
            out.append([c, c, v])
    return out


def h(c):
    return f'0x{c:X}'


def ranges(name, members):
    return array('Range', name, [row(h(a), h(b)) for a, b, _ in runs(dict.fromkeys(members))])


def classes():
    text = ''.join(map(chr, ALL))
    # What may end a word before a capital sigma, and what is passed over to find it.
    cased = {c for c in ALL if (chr(c) + 'Σ').lower()[-1] == 'ς'}
    ignorable = {c for c in ALL if c not in cased and ('a' + chr(c) + 'Σ').lower()[-1] == 'ς'}
    lower = []  # first, last, step, delta
    for c in ALL:
        to = chr(c).lower()
        if to == chr(c) or len(to) > 1:  # U+0130 alone is longer: in unicode.cpp
            continue
        delta = ord(to) - c
        last = lower[-1] if lower else None
        alone = last and last[0] == last[1]
        if last and last[3] == delta and (c - last[1] == last[2] or (alone and c - last[1] in (1, 2))):
            last[1], last[2] = c, c - last[1]
        else:
            lower.append([c, c, 1, delta])
    return (ranges('kLetters', map(ord, regex.findall(r'\p{L}', text))) +
            ranges('kNumbers', map(ord, regex.findall(r'\p{N}', text))) +
            ranges('kCased', cased) + ranges('kCaseIgnorable', ignorable) +
            array('CaseRange', 'kLower', [row(h(a), h(b), str(s), str(d)) for a, b, s, d in lower]))


def normal():
    combining = {c: k for c in ALL if (k := unicodedata.combining(chr(c)))}
    composed, only = [], []
    for c in ALL:
        parts = unicodedata.decomposition(chr(c))
        if not parts or parts.startswith('<'):
            continue
        a, b = ([int(x, 16) for x in parts.split()] + [0])[:2]
        whole = b and unicodedata.normalize('NFC', chr(a) + chr(b)) == chr(c)
        (composed if whole else only).append(row(h(c), h(a), h(b)))
    return (array('ClassRange', 'kCombining', [row(h(a), h(b), str(k)) for a, b, k in runs(combining)]) +
            array('Decomposition', 'kComposed', composed) + array('Decomposition', 'kDecomposedOnly', only))


def width():
    forms = [unicodedata.normalize('NFKC', chr(c)) for c in range(0xFF01, 0xFFF0)]
    assert [c for c, f in enumerate(forms, 0xFF01) if len(f) > 1] == [0xFFE3]  # in fix_text.cpp
    return array('char32_t', 'kWidth', [h(ord(f[0])) + ',' for f in forms], '  // of U+FF01 to U+FFEF')


def charmaps():
    names = {'Windows1252': 'sloppy-windows-1252', 'Windows1251': 'sloppy-windows-1251',
             'Windows1250': 'sloppy-windows-1250', 'Windows1253': 'sloppy-windows-1253',
             'Windows1254': 'sloppy-windows-1254', 'Latin2': 'iso-8859-2', 'MacRoman': 'macroman', 'Cp437': 'cp437'}
    return ''.join(array('char16_t', 'k' + name, [h(ord(c)) + ',' for c in bytes(range(128, 256)).decode(codec)],
                         '  // bytes 0x80 to 0xFF') for name, codec in names.items())


def entities():
    def listed(name, items):
        return f'constexpr std::string_view {name} =\n' + '\n'.join(f'  "{line} "' for line in wrap(items, 114)) + ';\n'

    def points(value):
        return '+'.join(f'{ord(c):X}' for c in value)

    known = html.entities.html5  # ';' becomes '&' where the name also counts without it
    names = [n[:-1] + ('&' if n[:-1] in known else ';') + points(known[n]) for n in sorted(known) if n.endswith(';')]
    capitals = [n[1:] + points(v) for n, v in sorted(HTML_ENTITIES.items()) if n[1:] not in known]
    return listed('kEntities', names) + listed('kCapitalEntities', capitals)


for file, table in {'unicode_classes': classes, 'unicode_normal': normal, 'width': width, 'charmaps': charmaps,
                    'html_entities': entities}.items():
    with open(f'{sys.argv[1]}/{file}.inc', 'w', encoding='ascii') as out:
        out.write(HEAD + table())
