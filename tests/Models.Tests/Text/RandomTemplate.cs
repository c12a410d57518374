namespace XDeepServe.Models.Tests.Text;

/// <summary>Makes templates that mostly mean something: statements over the variables of the golden cases.</summary>
internal sealed class RandomTemplate(Random random)
{
    private static readonly string[] Numbers = ["n", "m", "x", "0", "1", "2", "-3", "7", "2.5", "10", "third", "loop.index", "whole", "hundred"];
    private static readonly string[] Texts = ["s", "word", "emoji", "'a'", "''", "'Ab cD'", "\"it's\"", "'x,y,,z'", "'  pad '", "'😀é'", "messages[0].content", "'12'", "'a\\nb\\n'"];
    private static readonly string[] Lists = ["list", "words", "empty", "nested", "[1, 'a', none]", "range(4)", "(1, 2, 3)", "people", "messages", "word", "map", "quotes", "[true, 0, 2.0]"];
    private static readonly string[] Any = ["none", "true", "f", "missing", "map", "map.a", "messages[2]", "people[0].home", "empty", "{'k': 1}", "nested[0]"];
    private static readonly string[] Conditions = ["defined", "none", "string", "number", "mapping", "iterable", "sequence", "odd", "even", "true", "boolean", "integer", "float", "undefined", "lower", "upper", "callable"];
    private static readonly string[] TextMethods =
    [
        "strip()", "upper()", "lower()", "title()", "capitalize()", "split()", "split(',')", "split(' ', 1)", "rsplit(None, 1)", "splitlines()", "replace('a', 'bb')", "replace('', '-')",
        "startswith('a')", "endswith(('b', 'c'))", "find('b')", "rfind('a')", "count('a')", "lstrip('a ')", "rstrip()", "isdigit()", "isalpha()", "isspace()", "zfill(5)", "center(9, '*')", "partition(',')", "join(words)",
    ];
    private static readonly string[] Filters =
    [
        "upper", "lower", "trim", "title", "capitalize", "length", "list", "first", "last", "reverse | list", "join('-')", "sort", "unique | list", "string", "int", "float", "tojson", "tojson(indent=2)",
        "default('d')", "default('d', true)", "map('string') | list", "map('upper') | list", "select('number') | list", "reject('none') | list", "select | list", "map(attribute='name') | list",
        "selectattr('age', 'gt', 3) | list | length", "sum", "min", "max", "abs", "round(1)", "batch(2) | list", "slice(2) | list", "wordcount", "items | list", "dictsort", "replace('a', 'z')",
        "join(', ', attribute='role')", "groupby('age') | list | length", "sort(attribute='age') | map(attribute='name') | list", "sort(reverse=true)", "tojson(ensure_ascii=true)", "map('length') | list",
    ];

    private static readonly string[] TextFilters = ["truncate(8)", "indent(2)", "indent(1, true)", "center(9)", "wordcount", "urlencode", "trim('a')", "replace('a', 'b', 1)"];

    /// <summary>A template of a few statements.</summary>
    public string Next() => string.Concat(Enumerable.Range(0, random.Next(1, 4)).Select(_ => Statement(2)));

    private string Statement(int depth) => random.Next(depth > 0 ? 11 : 3) switch
    {
        0 or 1 or 2 => $"{Sign("{{")} {Value(3)} {Sign("}}")}",
        3 => $"{Sign("{%")} if {Value(2)} {Sign("%}")}{Body(depth)}{Sign("{%")} else {Sign("%}")}{Body(depth)}{Sign("{%")} endif {Sign("%}")}",
        4 or 5 => $"{Sign("{%")} for v in {Pick(Lists)} {(random.Next(3) == 0 ? $"if {Value(1)} " : "")}{Sign("%}")}{{{{ v }}}}{Body(depth)}{Sign("{%")} endfor {Sign("%}")}",
        6 => $"{{% set q = {Value(2)} %}}\n{{{{ q }}}}",
        7 => $"{{% set ns = namespace(a={Value(1)}) %}}{{% for v in {Pick(Lists)} %}}{{% set ns.a = {Value(1)} %}}{{% if loop.index > 2 %}}{{% break %}}{{% endif %}}{{% endfor %}}{{{{ ns.a }}}}",
        8 => $"{{% macro mac(p, q={Value(1)}) %}}{{{{ p }}}}|{{{{ q }}}}{Body(depth)}{{% endmacro %}}{{{{ mac({Value(1)}) }}}}{{{{ mac({Value(1)}, q={Value(1)}) }}}}",
        9 => $"{{% filter {Pick(["upper", "trim", "indent(1)", "replace('a', 'b')", "title"])} %}}{Body(depth)}{{% endfilter %}}",
        _ => $"{{% with w = {Value(1)} %}}{{{{ w }}}}{Body(depth)}{{% endwith %}}",
    };

    private string Body(int depth) => Pick([" ", "\n", "t", "\n  ", ""]) + (random.Next(2) == 0 ? Statement(depth - 1) : "b") + Pick(["", "\n", " "]);

    /// <summary>An opening or closing mark, at times with a sign that takes white space.</summary>
    private string Sign(string mark) => random.Next(4) > 0 ? mark : mark[0] == '{' ? mark + "-" : "-" + mark;

    private string Value(int depth)
    {
        if (depth == 0)
            return Pick(Pick([Numbers, Texts, Lists, Any]));
        return random.Next(15) switch
        {
            0 or 1 => $"{Value(depth - 1)} | {Pick(Filters)}",
            2 => $"({Pick(Texts)}).{Pick(TextMethods)}",
            3 => $"(({Value(depth - 1)}) is {(random.Next(3) == 0 ? "not " : "")}{Pick(Conditions)})",
            4 => $"({Pick(Numbers)} {Pick(["+", "-", "*", "/", "//", "%"])} {Pick(Numbers)})",
            5 => $"({Value(depth - 1)} {Pick(["==", "!=", "<", "<=", ">", ">=", "in", "not in", "and", "or"])} {Value(depth - 1)})",
            6 => $"({Value(depth - 1)} if {Value(depth - 1)} else {Value(depth - 1)})",
            7 => $"{Value(depth - 1)} ~ {Value(depth - 1)}",
            8 => $"{Pick(Lists)}[{Pick(["0", "-1", "1:", ":2", "::-1", "5", "-2:", "1:3", "::2"])}]",
            9 => $"{Pick(Texts)}[{Pick(["0", "-1", "1:", ":2", "::-1", "99", "-2:", "1:3"])}]",
            10 => $"not {Value(depth - 1)}",
            11 => $"[{Value(depth - 1)}, {Value(depth - 1)}]",
            12 => $"({Pick(Texts)} + {Pick(Texts)})",
            13 => $"({Pick(Texts)}) | {Pick(TextFilters)}",
            _ => Value(depth - 1),
        };
    }

    private T Pick<T>(T[] from) => from[random.Next(from.Length)];
}
