using System.Text;
using System.Text.Json.Nodes;
using XDeepServe.Models.Text;

namespace XDeepServe.Models.Tests.Text;

/// <summary>Templates that fail say why and where; none runs without end or exhausts memory or stack.</summary>
public sealed class ChatTemplateErrorTests
{
    private static readonly string[] Fragments =
        ["{{", "}}", "{%", "%}", "-", "|", "(", ")", "[", "]", ".", ":", "is ", "not ", "if ", "none", "1", "'", ",", "=", " list ", " map ", " missing ", " * 99999999", " ** 9", "{% for i in range(9999) %}", "{% endfor %}",
            "{% macro m(a) %}", "{% endmacro %}", "{{ m(1) }}", "{% set a = a ~ a %}", "loop(", "caller()", "{% call m() %}", "{% endcall %}", "%s", ".format(", "|tojson", "|list", "[::-1]", "recursive", "\\u", "😀"];

    [Theory]
    [InlineData("a\n  {{ x", 2, 3, "not closed")]
    [InlineData("{% if x %}\n\nabc", 1, 4, "not closed with 'endif'")]
    [InlineData("\n{{ 'abc }}", 2, 4, "string is not closed")]
    [InlineData("x {# y", 1, 3, "comment")]
    [InlineData("{% raw %}x", 1, 1, "endraw")]
    [InlineData("{{ a ? b }}", 1, 6, "'?'")]
    [InlineData("\n\n {{ a | bogus }}", 3, 9, "filter 'bogus'")]
    [InlineData("{{ a is bogus }}", 1, 9, "test 'bogus'")]
    [InlineData("{% include 'x' %}", 1, 4, "'include' is not supported")]
    [InlineData("{% call x %}{% endcall %}", 1, 4, "'call' needs")]
    [InlineData("{% with a %}{% endwith %}", 1, 11, "expected '='")]
    [InlineData("{% if a %}{% endfor %}", 1, 14, "expected 'endif'")]
    [InlineData("{% endif %}", 1, 4, "closes nothing")]
    [InlineData("{% break %}", 1, 4, "outside a loop")]
    [InlineData("{{ f(a=1, 2) }}", 1, 11, "without a name")]
    [InlineData("{{ 99999999999999999999 }}", 1, 4, "too large")]
    [InlineData("{{ '\\u00' }}", 1, 5, "hexadecimal")]
    public void Broken_templates_are_refused(string source, int line, int column, string reason) =>
        Check(Assert.Throws<TemplateException>(() => ChatTemplate.Parse(source)), line, column, reason);

    [Theory]
    [InlineData("\n {{ a.b }}", 2, 7, "'a' is undefined")]
    [InlineData("{{ n.b.c }}", 1, 8, "a number has no 'b'")]
    [InlineData("{{ 1 + 'a' }}", 1, 6, "'+' does not work")]
    [InlineData("{{ n() }}", 1, 5, "cannot be called")]
    [InlineData("{% set n.x = 1 %}", 1, 8, "namespace")]
    [InlineData("{% for a, b in [1] %}{% endfor %}", 1, 8, "a number cannot")]
    [InlineData("{% for a, b in [[1]] %}{% endfor %}", 1, 8, "1 values")]
    [InlineData("{{ [1][::0] }}", 1, 7, "must not be 0")]
    [InlineData("{{ strftime_now('%Q') }}", 1, 16, "'%Q'")]
    [InlineData("{{ [].append(1) }}", 1, 13, "must not")]
    [InlineData("{{ {1: 2} }}", 1, 5, "keys")]
    [InlineData("{{ 9223372036854775807 + 1 }}", 1, 24, "too large")]
    [InlineData("{{ 'a'.split('') }}", 1, 13, "empty")]
    public void Failing_templates_say_where(string source, int line, int column, string reason) =>
        Check(Assert.Throws<TemplateException>(() => ChatTemplate.Parse(source).Render(new JsonObject { ["n"] = 1 })), line, column, reason);

    [Fact]
    public void A_template_that_refuses_its_input_speaks_for_itself()
    {
        var error = Assert.Throws<TemplateException>(() => ChatTemplate.Parse("{{ raise_exception('Roles must alternate.') }}").Render([]));
        Assert.Equal("Roles must alternate.", error.Message);
        Assert.True(error.Raised);
    }

    [Theory]
    [InlineData("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}")]
    [InlineData("{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}")]
    [InlineData("{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}")]
    [InlineData("{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}")]
    [InlineData("{% set ns = namespace(s='xx') %}{% for i in range(99) %}{% set ns.s = ns.s.replace('x', 'xx') %}{% endfor %}")]
    [InlineData("{% set ns = namespace(s='xx') %}{% for i in range(99) %}{% set ns.s = ns.s | replace('', 'xx') %}{% endfor %}")]
    [InlineData("{% set ns = namespace(s='xx') %}{% for i in range(99) %}{% set ns.s = [ns.s, ns.s] | join(ns.s) %}{% endfor %}")]
    [InlineData("{% set ns = namespace(s=[]) %}{% for i in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}")]
    [InlineData("{% set ns = namespace(s=[]) %}{% for i in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s | tojson }}")]
    [InlineData("{% set ns = namespace(s=[]) %}{% for i in range(99999) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s == [ns.s] }}{{ ns.s }}")]
    [InlineData("{{ 'x' * 999999999999 }}")]
    [InlineData("{{ [1] * 999999999999 }}")]
    [InlineData("{{ range(999999999999) }}")]
    [InlineData("{{ range(0, 9223372036854775807, 1) }}")]
    [InlineData("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}")]
    [InlineData("{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}")]
    [InlineData("{% set x = 'x' * 60000000 %}{{ x }}{{ x }}")]
    [InlineData("{% set x = 'x' * 60000000 %}{{ x | list | length }}")]
    [InlineData("{% set x = 'x' * 900000 %}{% for i in range(99999) %}{% set y = x | first %}{% endfor %}")]
    [InlineData("{% set x = 'x' * 900000 %}{% for i in range(99999) %}{% set y = x[5] %}{% endfor %}")]
    [InlineData("{% set x = 'x' * 40000000 %}{% set y = 'x' * 20000000 ~ 'y' %}{{ y in x }}")]
    [InlineData("{% set x = 'x' * 40000000 %}{% set y = 'x' * 20000000 ~ 'y' %}{{ x.replace(y, '') }}")]
    [InlineData("{% set x = 'x' * 40000000 %}{% set y = 'x' * 20000000 ~ 'y' %}{{ x.split(y) }}")]
    [InlineData("{% set x = 'x' * 40000000 %}{% set y = 'x' * 20000000 ~ 'y' %}{{ x.count(y) + x.find(y) }}")]
    [InlineData("{% set a = namespace(s=[]) %}{% set b = namespace(s=[]) %}{% for i in range(99) %}{% set a.s = [a.s, a.s] %}{% set b.s = [b.s, b.s] %}{% endfor %}{{ a.s == b.s }}")]
    [InlineData("{% set a = namespace(s=[]) %}{% set b = namespace(s=[]) %}{% for i in range(99) %}{% set a.s = [a.s, a.s] %}{% set b.s = [b.s, b.s] %}{% endfor %}{{ a.s < b.s }}")]
    [InlineData("{% set x = 'x' * 9000000 %}{{ [x ~ 1, x ~ 2] * 400000 | sort }}")]
    [InlineData("{% set x = 'x' * 900000 %}{% set l = [x ~ 1, x ~ 2, x ~ 3] * 30000 %}{{ l | sort | length }}")]
    [InlineData("{% set x = 'x' * 900000 %}{% set l = [x ~ 1, x ~ 2, x ~ 3] * 30000 %}{{ l | join | length }}")]
    [InlineData("{% for t in [1] recursive %}{{ loop([1]) }}{% endfor %}")]
    [InlineData("{% macro m() %}{{ caller() }}{{ caller() }}{% endmacro %}{% macro n() %}{% call m() %}{{ n() }}{% endcall %}{% endmacro %}{{ n() }}")]
    [InlineData("{{ '%999999999d' % 1 }}")]
    [InlineData("{{ '{:999999999}'.format(1) }}")]
    [InlineData("{{ 'a'.center(999999999) }}")]
    [InlineData("{{ 'a'.zfill(999999999999) }}")]
    [InlineData("{{ [1] | batch(999999999, 'x') | list }}")]
    [InlineData("{{ [1] | slice(999999999) | list }}")]
    public void Bombs_are_defused(string source) =>
        Assert.NotEmpty(Assert.Throws<TemplateException>(() => ChatTemplate.Parse(source).Render([])).Message);

    [Theory]
    [InlineData("{{ ", "(", ")", " }}")]
    [InlineData("{{ ", "[", "]", " }}")]
    [InlineData("{{ ", "not ", "", "1 }}")]
    [InlineData("{{ ", "-", "", "1 }}")]
    [InlineData("", "{% if 1 %}", "{% endif %}", "")]
    [InlineData("{{ a", ".b", "", " }}")]
    [InlineData("{{ a", "|string", "", " }}")]
    [InlineData("{{ 1", " + 1", "", " }}")]
    [InlineData("{{ 1", " ~ 1", "", " }}")]
    [InlineData("{{ 1", " and 1", "", " }}")]
    [InlineData("{{ 1", " if 1 else 1", "", " }}")]
    public void Deep_nesting_is_refused_or_works(string begin, string open, string close, string end)
    {
        var source = begin + string.Concat(Enumerable.Repeat(open, 100_000)) + string.Concat(Enumerable.Repeat(close, 100_000)) + end;
        try
        {
            Assert.NotNull(ChatTemplate.Parse(source).Render(new JsonObject { ["a"] = 1 }));
        }
        catch (TemplateException error)
        {
            Assert.NotEmpty(error.Message);
        }
    }

    [Fact]
    public void A_damaged_template_never_ends_in_another_exception()
    {
        var cases = JsonNode.Parse(File.ReadAllBytes(Path.Combine(TokenizerFiles.Root, "tests", "golden", "templates", "cases.json")))!;
        var sources = cases["cases"]!.AsArray().Select(entry => (string)entry!["template"]!).ToArray();
        var random = new Random(5);
        var mutator = new Mutator(random, Fragments);
        var rendered = 0;
        for (var round = 0; round < Mutator.Cases; round++)
        {
            var source = mutator.Damage(Encoding.UTF8.GetBytes(sources[random.Next(sources.Length)] + sources[random.Next(sources.Length)]));
            var before = GC.GetAllocatedBytesForCurrentThread();
            try
            {
                ChatTemplate.Parse(Encoding.UTF8.GetString(source)).Render(cases["variables"]!.AsObject());
                rendered++;
            }
            catch (TemplateException error)
            {
                Assert.True(error.Line > 0 && error.Column > 0);
            }
            Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1L << 30);
        }
        Assert.True(rendered > Mutator.Cases / 100, $"Only {rendered} of {Mutator.Cases} damaged templates rendered.");
    }

    private static void Check(TemplateException error, int line, int column, string reason)
    {
        Assert.Contains(reason, error.Message, StringComparison.Ordinal);
        Assert.Equal((line, column), (error.Line, error.Column));
    }
}
