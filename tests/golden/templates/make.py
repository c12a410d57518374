"""Renders small templates with Jinja as Hugging Face transformers sets it up, into cases.json.

With --lines, answers lines {"template", "variables"} on stdin by lines {"text"} or {"error"} on stdout instead.
"""
import json
import sys

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


class Generation(Extension):
    """{% generation %} marks the assistant's text; it renders as it stands."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.Scope(body).set_lineno(line)


environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, Generation])
environment.filters["tojson"] = tojson
environment.globals["raise_exception"] = raise_exception

if "--lines" in sys.argv:
    for line in sys.stdin.buffer:
        case = json.loads(line)
        try:
            answer = {"text": environment.from_string(case["template"]).render(**case["variables"])}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
    sys.exit()

variables = {
    "messages": [
        {"role": "system", "content": "  Be brief.\n"},
        {"role": "user", "content": "Héllo <wörld> & \"friends\" 日本 😀!"},
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1, "y": [1.5, None, True]}}}]},
        {"role": "tool", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    ],
    "s": "  the quick, brown fox\tjumps\nover\r\nthe dog  ",
    "word": "naïve",
    "emoji": "a😀b😀c",
    "n": 7, "m": -3, "x": 2.5, "big": 1e16, "tiny": 0.00001, "third": 1 / 3, "whole": 3.0, "hundred": 100,
    "t": True, "f": False, "none": None,
    "list": [3, 1, 2], "words": ["b", "A", "c", "a"], "empty": [], "nested": [[1, 2], [3, 4]],
    "map": {"b": 1, "a": {"c": "d'e"}, "items_": 2},
    "quotes": ["it's", 'say "hi"', 'both \' and "', "back\\slash", "line\nbreak", "\x01\x7f"],
    "people": [{"name": "Bo", "age": 5, "home": {"city": "X"}}, {"name": "al", "age": 3}, {"name": "Cy", "age": 5, "home": {"city": "Y"}}],
    "bos_token": "<s>",
    "huge": 123456789012345678901234567890,
    "tree": [{"n": "a", "kids": [{"n": "b", "kids": []}, {"n": "c", "kids": [{"n": "d", "kids": []}]}]}, {"n": "e", "kids": []}],
}

templates = r'''
plain text
{{ s }}|{{ word }}|{{ emoji }}|{{ n }}|{{ x }}|{{ big }}|{{ tiny }}|{{ third }}|{{ whole }}|{{ t }}|{{ none }}|{{ list }}|{{ map }}
{{ quotes }}
{{ 1 + 2 * 3 - 4 / 2 }} {{ 7 // 2 }} {{ m // 2 }} {{ 7 % 3 }} {{ m % 5 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ -n }} {{ +n }} {{ 1.5 + 1 }} {{ 7.0 // 2 }} {{ -7.5 % 2 }}
{{ 'a' ~ 1 ~ none ~ 2.0 ~ true }} {{ 'a' 'b' "c" }} {{ 'x' * 3 }} {{ [1] * 3 }} {{ [1] + [2] }} {{ (1, 2) + (3,) }} {{ (1,) }} {{ () }}
{{ 1 < 2 }} {{ 1 < 2 < 3 }} {{ 1 < 2 > 3 }} {{ 'a' < 'b' }} {{ 1 == 1.0 }} {{ true == 1 }} {{ 'a' == "a" }} {{ [1, 2] == [1, 2] }} {{ none == none }} {{ 1 != 2 }} {{ (1,) == [1] }}
{{ 'a' in 'abc' }} {{ 'z' not in 'abc' }} {{ 3 in list }} {{ 'b' in map }} {{ not 3 in list }} {{ 'x' in missing }}
{{ t and 'yes' }} {{ f or 'no' }} {{ none or '' or 0 or 'last' }} {{ not t }} {{ not f and t }} {{ 1 and 2 and 3 }}
{{ 'a' if t else 'b' }} {{ 'a' if f }} {{ 'a' if f else 'b' if f else 'c' }} {{ ('a' if f) is defined }}
{{ missing }}|{{ missing is defined }}|{{ missing is undefined }}|{{ map.missing is defined }}|{{ missing == missing2 }}|{{ missing | default('d') }}|{{ '' | default('d', true) }}|{{ none | default('d') }}|{{ none | d('e', boolean=true) }}
{{ missing.x }}
{{ missing + 1 }}
{{ missing() }}
{{ none.x is defined }} {{ n.x is defined }} {{ none + 'a' }}
{{ 'a' + 1 }}
{{ 1 / 0 }}
{{ list[0] }} {{ list[-1] }} {{ list[9] is defined }} {{ list[1:] }} {{ list[:-1] }} {{ list[::-1] }} {{ list[::2] }} {{ list[5:] }} {{ list[-2:] }} {{ list[2:0:-1] }} {{ list[-9:9] }}
{{ word[2] }} {{ word[-1] }} {{ emoji[1] }} {{ emoji[1:4] }} {{ emoji[::-1] }} {{ emoji | length }} {{ word[1:3] }} {{ emoji[-2:] }}
{{ map.b }} {{ map['a'].c }} {{ map.a['c'] }} {{ map['a']['c'] }} {{ nested[1][0] }} {{ nested.0.1 }} {{ messages[0]['role'] }} {{ messages[-1].content[0].text }}
{{ s.strip() }}|{{ s.lstrip() }}|{{ s.rstrip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'xyaxy'.lstrip('yx') }}|{{ 'abc'.rstrip('cb') }}
{{ s.split() }} {{ s.split(',') }} {{ 'a-b-c'.split('-', 1) }} {{ 'a-b-c'.rsplit('-', 1) }} {{ ' a  b c '.split(None, 1) }} {{ ''.split() }} {{ ''.split(',') }} {{ 'a,b'.split(',')[-1] }} {{ 'abc'.split('abc') }} {{ 'a b'.split(maxsplit=1) }}
{{ s.splitlines() }} {{ 'a\n\nb\n'.splitlines() }}
{{ word.upper() }} {{ 'ABC'.lower() }} {{ 'hello world'.title() }} {{ "they're bill's".title() }} {{ 'hELLO'.capitalize() }} {{ ''.capitalize() }}
{{ 'abc'.startswith('a') }} {{ 'abc'.startswith(('x', 'a')) }} {{ 'abc'.endswith('c') }} {{ 'abc'.find('c') }} {{ emoji.find('b') }} {{ 'abc'.find('z') }} {{ 'abab'.rfind('b') }} {{ 'aaa'.count('a') }} {{ 'abc'.count('') }}
{{ 'a.b.c'.replace('.', '-') }} {{ 'aaa'.replace('a', 'b', 2) }} {{ 'abc'.replace('', '-') }} {{ 'abc'.replace('', '-', 2) }} {{ 'abc'.replace('b', '') }} {{ ''.replace('', 'x') }}
{{ ', '.join(['a', 'b']) }} {{ ''.join([]) }} {{ '12'.isdigit() }} {{ 'ab'.isalpha() }} {{ ''.isdigit() }} {{ 'a1'.isalnum() }} {{ ' '.isspace() }} {{ 'AB'.isupper() }} {{ 'ab1'.islower() }}
{{ 'abc'.removeprefix('a') }} {{ 'abc'.removesuffix('c') }} {{ 'abc'.removesuffix('x') }}
{{ map.items() | list }} {{ map.keys() | list }} {{ map.values() | list }} {{ map.get('b') }} {{ map.get('z') }} {{ map.get('z', 'dflt') }} {{ map | items | list }} {{ map | dictsort }}
{% for k, v in map.items() %}{{ k }}={{ v }};{% endfor %} {% for k in map %}{{ k }}{% endfor %}
{{ list.index(1) }} {{ list.count(3) }}
{{ list.append(4) }}
{{ map.update({'a': 1}) }}
{{ s | trim }}|{{ 'xax' | trim('x') }}|{{ 5 | trim }}|{{ word | upper }}|{{ 'AbC' | lower }}|{{ 'hELLO wORLD' | capitalize }}|{{ "hello world-foo (bar) it's" | title }}
{{ list | length }} {{ list | count }} {{ 'abc' | length }} {{ map | length }} {{ missing | length }}
{{ none | length }}
{{ list | first }} {{ list | last }} {{ empty | first is defined }} {{ 'abc' | first }} {{ 'abc' | last }} {{ 'abc' | list }} {{ list | reverse | list }} {{ 'abc' | reverse }}
{{ list | join(', ') }} {{ words | join }} {{ people | join('; ', attribute='name') }} {{ [1, none, 2.5, 'x'] | join('-') }} {{ 'abc' | join('-') }}
{{ list | sort }} {{ list | sort(reverse=true) }} {{ words | sort }} {{ words | sort(case_sensitive=true) }} {{ people | sort(attribute='age') | map(attribute='name') | list }} {{ people | sort(attribute='age,name') | map(attribute='name') | list }}
{{ [1, 'a'] | sort }}
{{ words | unique | list }} {{ ['a', 'A', 'b', 'a'] | unique | list }} {{ ['a', 'A'] | unique(case_sensitive=true) | list }} {{ list | sum }} {{ people | sum(attribute='age') }} {{ list | min }} {{ list | max }} {{ empty | max is defined }}
{{ words | map('upper') | list }} {{ people | map(attribute='home.city', default='?') | list }} {{ words | map('replace', 'a', 'z') | list }} {{ nested | map('first') | list }} {{ nested | map(attribute=1) | list }}
{{ list | select('odd') | list }} {{ list | reject('odd') | list }} {{ list | select('gt', 1) | list }} {{ list | select('in', [1, 2]) | list }} {{ ['', 'a', none] | select | list }} {{ people | selectattr('home') | map(attribute='name') | list }} {{ people | selectattr('age', 'equalto', 5) | map(attribute='name') | list }} {{ people | rejectattr('age', '==', 5) | map(attribute='name') | list }} {{ messages | selectattr('role', 'eq', 'user') | list | length }} {{ people | selectattr('home', 'defined') | list | length }}
{{ '3' | int }} {{ 'x' | int }} {{ 'x' | int(5) }} {{ 3.9 | int }} {{ '3.7' | int }} {{ none | int }} {{ '2.5' | float }} {{ 'x' | float }} {{ 3 | float }} {{ -5 | abs }} {{ -5.5 | abs }} {{ 2.567 | round(2) }} {{ 2.5 | round }} {{ 2.1 | round(0, 'ceil') }} {{ 2.9 | round(method='floor') }} {{ 3 | string + 'x' }}
{{ '<a href="x">\'&' | e }} {{ '<b>' | escape }} {{ '<b>' | safe }} {{ 'one two  three' | wordcount }}
{{ 'a\nb\n\nc' | indent }}|{{ 'a\nb' | indent(2, true) }}|{{ 'a\n\nb' | indent(width=2, blank=true) }}|{{ 'a\nb' | indent('> ') }}
{{ messages | tojson }}
{{ map | tojson(indent=2) }} {{ empty | tojson(indent=2) }} {{ {} | tojson(indent=2) }} {{ map | tojson(sort_keys=true) }} {{ word | tojson(ensure_ascii=true) }} {{ emoji | tojson(ensure_ascii=true) }} {{ list | tojson(separators=(',', ':')) }} {{ (1, 2) | tojson }} {{ quotes | tojson }} {{ [big, tiny, third, whole, n, t, none] | tojson }}
{{ missing | tojson }}
{{ n is number }} {{ x is number }} {{ t is number }} {{ 'a' is string }} {{ n is string }} {{ map is mapping }} {{ list is mapping }} {{ list is iterable }} {{ 'a' is iterable }} {{ n is iterable }} {{ list is sequence }} {{ map is sequence }} {{ n is integer }} {{ t is integer }} {{ x is float }} {{ t is boolean }} {{ t is true }} {{ f is false }} {{ 1 is true }} {{ none is none }} {{ none is not none }} {{ n is odd }} {{ n is even }} {{ n is divisibleby 7 }} {{ n is divisibleby(2) }} {{ 'ab' is lower }} {{ 'AB' is upper }}
{{ n is eq 7 }} {{ n is equalto(7) }} {{ n is ne 7 }} {{ n is lt 8 }} {{ n is ge 7 }} {{ 1 is in [1, 2] }} {{ 1 is sameas 1 }} {{ range is callable }} {{ n is not defined or n is odd }} {{ missing is not defined and t }} {{ not missing is defined }} {{ 1 + n is number }}
{% if n > 5 %}big{% elif n > 3 %}mid{% else %}small{% endif %} {% if empty %}x{% else %}y{% endif %} {% if not empty and list %}z{% endif %}
{% for i in list %}{{ loop.index }}/{{ loop.index0 }}/{{ loop.revindex }}/{{ loop.revindex0 }}/{{ loop.first }}/{{ loop.last }}/{{ loop.length }}/{{ loop.previtem }}/{{ loop.nextitem }};{% endfor %}
{% for i in list if i > 1 %}{{ i }}{{ loop.index }}{{ loop.last }} {% else %}none{% endfor %}{% for i in empty %}x{% else %}none{% endfor %}{% for i in list if i > 9 %}x{% else %}nothing{% endfor %}
{% for a, b in nested %}{{ a }}-{{ b }} {% endfor %}{% for (a, b) in nested %}{{ a + b }} {% endfor %}{% for c in 'a😀' %}[{{ c }}]{% endfor %}{% for i in range(3) %}{{ i }}{% endfor %}{% for i in range(5, 0, -2) %}{{ i }}{% endfor %}{% for i in missing %}x{% endfor %}
{% for i in none %}x{% endfor %}
{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}
{% for i in list %}{% for j in list %}{{ loop.index }}{{ loop.depth }}{% endfor %}{{ loop.index }}{{ loop.depth0 }} {% endfor %}{% for i in list %}{{ loop.cycle('a', 'b') }}{{ loop.changed(i > 1) }} {% endfor %}
{% set a = 1 %}{% for i in list %}{% set a = a + i %}{{ a }} {% endfor %}{{ a }}{% set ns = namespace(v=1, w='q') %}{% for i in list %}{% set ns.v = ns.v + i %}{% endfor %}{{ ns.v }}{{ ns.w }}{{ ns.zz is defined }}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c = 1, 2 %}{{ c }}{% if t %}{% set inside = 'seen' %}{% endif %}{{ inside }}{% set blk %}text {{ n }}{% endset %}[{{ blk }}]{% set blk2 | upper | trim %}  abc {% endset %}[{{ blk2 }}]
{% set ns = namespace() %}{% set ns.x = none %}{{ ns.x }}{{ ns.x is none }}{% set d = dict(a=1, b='2') %}{{ d }}{{ d.a }}{% set e = {'k': [1, 2], "z": {}} %}{{ e.k[1] }}{{ e }}
{% macro greet(name, mark='!') %}Hello {{ name }}{{ mark }}{% endmacro %}{{ greet('Bo') }} {{ greet('Al', mark='?') }} {{ greet(name='Cy') }} {{ greet() }}
{% macro rec(k) %}{{ k }}{% if k > 0 %},{{ rec(k - 1) }}{% endif %}{% endmacro %}{{ rec(4) }}{% macro outer() %}{{ n }}{% endmacro %}{% set later = 5 %}{{ outer() }}
{% macro two(a) %}{{ a }}{% endmacro %}{{ two(1, 2) }}
{% macro two(a) %}{{ a }}{% endmacro %}{{ two(b=2) }}
{% filter upper %}abc {{ word }}{% endfilter %}
{% raw %}{{ not }} {% this %}{% endraw %}|{%- raw -%}  x  {%- endraw -%}  y
{# comment #}a{#- strip -#}  b {# one #}
{{ raise_exception('No!') }}
{{ raise_exception('No ' ~ messages[0].role) }}
{{ "esc: \n \t \\ \" \' \x41 \u00e9 \q" }}|{{ 'it\'s' }}
{{ 1_000 }} {{ 1.5e3 }} {{ 1e2 }} {{ 12.50 }} {{ 0 }} {{ 0.1 + 0.2 }} {{ 1e100 }} {{ 123456789012345680.0 }} {{ 1e15 }} {{ 1e-4 }} {{ 1.0 }} {{ -0.0 }} {{ 5e-324 }} {{ 1.7976931348623157e308 }}
{{ {'a': 1}['a'] }} {{ [1, 2,][0] }} {{ {'a': {'b': 1}}.a.b }} {{ {} }} {{ [] }} {{ {'x': 1,} }}
{{ messages | map(attribute='role') | join(',') }} {{ messages[1:] | length }} {{ messages | selectattr('role', 'equalto', 'tool') | map(attribute='content') | first | map(attribute='text') | join }}
{{ (1, 2)[0] }} {{ ((1)) }} {{ (n) + 1 }} {{ n|string ~ 'a'|upper }} {{ 'a' ~ 'b'|upper }} {{ -n|abs }} {{ -2 ** 2 }} {{ 2 ** 3 ** 2 }} {{ not 1 == 2 }} {{ 1 if 0 else 2 }}
{{ n }
{% if %}x{% endif %}
{% if t %}x
{% endif %}
{% for in list %}{% endfor %}
{{ n | nofilter }}
{{ n is notest }}
{% unknown %}
{{ 'open }}
{{ n n }}
{% set 1 = 2 %}
{% else %}
{{ range(3) | list }} {{ range(2, 4) | list }} {{ range(0) | list }} {{ range(1, 10, 4) | list }}
{{ range(1000000) | list | length }}
{{ [1, 2] < [1, 3] }} {{ 'a' > 1 }}
{{ {'b': 2, 'a': 1} | dictsort }} {{ namespace(a=1).a }} {{ dict({'a': 1}, b=2) }} {{ ['a', 'b'] | map('length') | list }} {{ 'a' in ('a', 'b') }} {{ none in [none] }} {{ 1 in [true] }}
{{ x if x is defined and x is number else 'no' }} {{ (messages | length) - 1 }} {{ messages|length - 1 }} {{ loop is defined }} {{ messages[0].content.strip() == 'Be brief.' }}
{% macro box(t) %}[{{ t }}:{{ caller() }}]{% endmacro %}{% call box('x') %}in {{ n }}{% endcall %}{% macro rows(xs) %}{% for x in xs %}{{ caller(x, loop.index) }}{% endfor %}{% endmacro %}{% call(a, i) rows(list) %}<{{ i }}:{{ a }}>{% endcall %}
{% macro plain() %}p{% endmacro %}{% call plain() %}x{% endcall %}
{% macro more(a) %}{{ a }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ more(1, 2, 3, k=4) }}{{ more() }}{{ more.name }}{{ more.arguments }}
{% macro nocall() %}{{ caller is defined }}{% endmacro %}{{ nocall() }}
{% for t in tree recursive %}{{ loop.depth }}{{ t.n }}{% if t.kids %}({{ loop(t.kids) }}){% endif %}{% if not loop.last %},{% endif %}{% endfor %}
{% for t in tree recursive %}{{ t.n }}{{ loop(t.kids) }}{% else %}.{% endfor %}
{% for t in list %}{{ loop(list) }}{% endfor %}
{% with a = 1, b = n + 1 %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}{% with %}{% set q = 3 %}{{ q }}{% endwith %}{{ q is defined }}
{% set a = 5 %}{% with a = 1, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}
{% generation %}said {{ n }}{% endgeneration %}|{% for m in messages %}{% generation %}{% set z = m.role %}{{ z }}{% endgeneration %}{% endfor %}
{{ '%s is %d%% of %5.2f|%-5s|%05d|%+d|%x|%r' % ('a', 7, 2.5, 'b', 42, 3, 255, 'q') }} {{ '%s' % 'one' }} {{ '%s' % n }} {{ '%(a)s-%(b)d' % {'a': 1, 'b': 2} }} {{ '%s %s' | format(1, 'x') }} {{ '%e %g %g %g %.3g' % (12345.678, 0.0001, 1e20, 100000.0, 3.14159) }}
{{ '%d' % 'x' }}
{{ '%s %s' % 'x' }}
{{ '%s' % ('a', 'b') }}
{{ '{} {} {}'.format(1, 'a', none) }} {{ '{0}{1}{0}'.format('x', 'y') }} {{ '{a}-{b:>5}|{b:<5}|{b:^5}|'.format(a=1, b='z') }} {{ '{:.2f} {:5d} {:05d} {:,} {:+d} {:x} {:%} {{}}'.format(3.14159, 42, 42, 1234567, 5, 255, 0.25) }} {{ '{!r} {x.b}'.format('q', x=map) }}
{{ '{'.format(1) }}
{{ '{} {}'.format(1) }}
{{ 'a-b-c'.partition('-') }} {{ 'a-b-c'.rpartition('-') }} {{ 'abc'.partition('-') }} {{ 'abc'.rpartition('-') }} {{ 'ab'.center(5) }}| {{ 'abc'.center(6, '*') }} {{ 'ab'.center(7, '*') }} {{ 'a'.ljust(3) }}| {{ 'a'.rjust(3, '0') }} {{ '-5'.zfill(4) }} {{ '5'.zfill(3) }} {{ 'aBc'.swapcase() }} {{ 'ABCß'.casefold() }} {{ 'abcabc'.index('c') }} {{ 'abcabc'.rindex('c') }} {{ 'abcabc'.find('c', 3) }} {{ 'abcabc'.find('a', 1, 3) }} {{ 'abcabc'.find('a', -3) }} {{ 'abc'.find('', 5) }}
{{ 'abc'.index('z') }}
{{ ' a  b c '.rsplit(None, 1) }} {{ ' a  b c '.rsplit(None, 0) }} {{ 'a b c'.rsplit() }} {{ 'a b c'.rsplit(None, 9) }} {{ ''.rsplit(None, 1) }} {{ 'a,b,c'.rsplit(',', 1) }} {{ '12²'.isdigit() }} {{ '½'.isnumeric() }} {{ '½'.isdecimal() }} {{ 'aé'.isascii() }}
{{ list | batch(2) | list }} {{ list | batch(2, 'x') | list }} {{ range(7) | slice(3) | list }} {{ range(7) | slice(3, 'y') | list }} {{ people | groupby('age') | map(attribute=0) | list }} {% for age, who in people | groupby('age') %}{{ age }}:{{ who | map(attribute='name') | join(',') }};{% endfor %} {% for g in people | groupby('home.city', default='?') %}{{ g[0] }}{{ g[1] | length }}{% endfor %}
{{ 'abc' | center(9) }}| {{ 'a b c d e f g' | truncate(9) }} {{ 'a b c d e f g' | truncate(9, true) }} {{ 'abcdefghijklmnop' | truncate(9, false, '~') }} {{ 'short' | truncate(3, leeway=0, end='') }} {{ 'a/b c&d é' | urlencode }}
{{ map | dictsort(reverse=true) }} {{ {'a': 2, 'B': 1, 'c': 3} | dictsort }} {{ {'a': 2, 'B': 1} | dictsort(true) }} {{ {'a': 2, 'B': 1} | dictsort(by='value') }} {{ {'a': 2, 'B': 1} | dictsort(false, 'value', true) }}
{{ map | dictsort(by='x') }}
{{ huge }} {{ huge | tojson }} {{ [huge] }} {{ huge is number }} {{ huge is integer }} {{ huge == huge }} {{ huge | string | length }}
{{ 'upper' is filter }} {{ 'nope' is filter }} {{ 'defined' is test }} {{ 'nope' is test }} {{ 'x' is escaped }} {{ ['😀', '～'] | sort }} {{ '😀' > '～' }}
{{ messages | map(attribute='role') | unique | list }} {{ messages | rejectattr('content') | list | length }} {{ messages | selectattr('content', 'string') | map(attribute='content') | map('trim') | list }}
{{ messages | tojson(indent=4) }} {{ {'é': 'ü😀', 'b': [1, {}]} | tojson(indent=1, ensure_ascii=true, sort_keys=true) }} {{ {'a': '</script>&\'"'} | tojson }} {{ '\x00\x1f\x7f\u2028' | tojson }}
{% for a in list %}{% for b in list %}{% if b == 2 %}{% break %}{% endif %}{{ a }}{{ b }} {% else %}none{% endfor %}{% endfor %}
{% set ns = namespace(a=[]) %}{% for i in range(3) %}{% set ns.a = ns.a + [i] %}{% endfor %}{{ ns.a }}{% set ns.b = {'x': ns.a} %}{{ ns.b.x[1:] }}
{{ messages[1].content.split(' ')[0] }} {{ messages[0].content.strip().startswith('Be') }} {{ messages[2].tool_calls[0].function.arguments.items() | list }} {{ (messages | last).content | map(attribute='text') | join('+') }}
{% filter upper | replace('A', 'b') %}a{{ n }}{% endfilter %}{% filter indent(2) %}x{{ '\n' }}y{% endfilter %}
{% if (messages[0].role == 'system') and not (messages[1].role != 'user') or f %}ok{% endif %}{{ 'a' if messages | length > 2 else 'b' }}{{ not (t and f) }}{{ 3 if n is odd and n > 3 }}
{{ range(10)[2:8:2] | list }} {{ (1, 2, 3)[::-1] }} {{ 'abcdef'[4:1:-1] }} {{ list[-100:100] }} {{ 'abc'[1:][:1] }} {{ list[:0] }}
{{ [1, 2.0, true, none, 'x', [1], {'a': 1}] | map('string') | list }} {{ ['3', 4, 'x'] | map('int', default=9) | list }} {{ [1.5, 2.5, -0.5] | map('round') | list }} {{ 1.005 | round(2) }} {{ 12345.678 | round(1) }}
'''.strip("\n").split("\n")

blocks = [
    "{% if t %}\nline\n{% endif %}\nend\n",
    "  {% if t %}  \n  kept {{ n }} \n  {% endif %}\n  end",
    "a\n  {%- if t %} b {%- endif %}\n c",
    "a {%- if t -%}\n\n b \n{%- endif -%}\n c",
    "a\n\t{%+ if t %}\n b{% endif +%}\nc",
    "{%- for i in list %}\n  {{- i }}\n{%- endfor %}\n",
    "{% for i in list %}\n{{ i }}\n{% endfor %}\n",
    "  {# note #}\nx {# note #}\n{#- note -#}\n y",
    "{{ n }}\n{{- n }}  {{ n -}}  \n {{ n }}\n",
    "x\n\n{% set a = 1 %}\n\n{{ a }}\n\n",
    "{% if t %}a{% endif %}\n{% if t %}b{% endif %}\n",
    "{% if t %}  {% if t %}\n  b{% endif %}{% endif %}",
    "{% if t %}\r\nwindows\r\n{% endif %}\r\n",
    "  {% raw %}\n {{ x }} \n  {% endraw %}\n z",
    "{{ {'a': {'b': 1}} }}{{ '}}' }}{% set q = '%}' %}{{ q }}",
    "{% for m in messages %}\n    {% if m.content is string %}\n        {{ m.role }}: {{ m.content | trim }}\n    {% elif m.content %}\n        {% for p in m.content %}\n{{ p.text }}\n        {% endfor %}\n    {% else %}\n        nothing\n    {% endif %}\n{% endfor %}\n",
    "{%- set ns = namespace(found=false) -%}\n{%- for m in messages[::-1] -%}\n{%- if m.role == 'user' and not ns.found -%}{%- set ns.found = true -%}{{ loop.index0 }}{%- endif -%}\n{%- endfor -%}",
    "{%- macro render(p, level=0) -%}\n{%- for k, v in p.items() -%}\n{{ '  ' * level }}{{ k }}:{% if v is mapping %}{{ '\n' }}{{ render(v, level + 1) }}{% else %} {{ v }}{{ '\n' }}{% endif %}\n{%- endfor -%}\n{%- endmacro -%}\n{{ render(map) }}",
    "{{ bos_token }}\n{%- if messages[0]['role'] == 'system' %}\n    {%- set sys = messages[0]['content']|trim %}\n    {%- set messages = messages[1:] %}\n{%- else %}\n    {%- set sys = '' %}\n{%- endif %}\n{{- sys }}{{ messages|length }}",
    "{% set x %}\n  a\n{% endset %}[{{ x }}]",
    "{%if t%}tight{%endif%}{{n}}{{-n-}}",
    "a{% if t -%}   \n  b{% endif %}   \n{% if t %}   {% endif %}c",
    "\n\n",
    "",
    "\n",
    "x\n\n",
    "   {{ n }}   \n   {%- if t %}\n   y\n   {%- endif %}",
]

cases = []
for template in templates + blocks:
    try:
        cases.append({"template": template, "text": environment.from_string(template).render(**variables)})
    except Exception as error:  # what the reference refuses, we refuse
        cases.append({"template": template, "error": f"{type(error).__name__}: {error}"})

with open("cases.json", "w", encoding="utf-8") as file:
    file.write('{"made_with":"jinja2 %s","variables":%s,\n"cases":[\n' % (jinja2.__version__, json.dumps(variables, ensure_ascii=False)))
    file.write(",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "\n]}\n")
