using System.Diagnostics;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using XDeepServe.Models.Text;

namespace XDeepServe.Models.Tests.Text;

/// <summary>Random templates render as in Jinja itself, where Python has it.</summary>
public sealed class TemplateOracleTests
{
    private const int Cases = 4000;

    [Fact]
    public async Task Random_templates_render_as_in_the_reference()
    {
        var maker = Path.Combine(TokenizerFiles.Root, "tests", "golden", "templates", "make.py");
        Assert.SkipUnless(CanRun("import jinja2"), "Python with jinja2 is not here (Debian's python3-jinja2 brings it).");
        var golden = JsonNode.Parse(File.ReadAllBytes(Path.Combine(Path.GetDirectoryName(maker)!, "cases.json")))!;
        var variables = golden["variables"]!.AsObject();
        var templates = new RandomTemplate(new Random(11));
        var sources = Enumerable.Range(0, Cases).Select(_ => templates.Next()).ToArray();

        var input = new StringBuilder();
        foreach (var source in sources)
            input.Append(new JsonObject { ["template"] = source, ["variables"] = variables.DeepClone() }.ToJsonString()).Append('\n');
        var answers = (await Run(input.ToString(), maker, "--lines")).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(sources.Length, answers.Length);

        var failures = new List<string>();
        var rendered = 0;
        for (var i = 0; i < sources.Length; i++)
        {
            var answer = JsonNode.Parse(answers[i])!;
            string? text = null;
            var complaint = "";
            try
            {
                text = ChatTemplate.Parse(sources[i]).Render(variables);
            }
            catch (TemplateException error)
            {
                complaint = error.Message;
            }
            rendered += text is null ? 0 : 1;
            if (((string?)answer["error"])?.Contains("unhashable", StringComparison.Ordinal) == true)
                continue; // Python cannot look for lists in sets; here it can
            if (text != (string?)answer["text"])
                failures.Add($"{sources[i]}\n  expected: {answer.ToJsonString()}\n  actual:   {JsonValue.Create(text)?.ToJsonString() ?? complaint}");
        }
        Assert.True(failures.Count == 0, $"{failures.Count} of {Cases} differ:\n{string.Join("\n\n", failures.Take(25))}");
        Assert.True(rendered > Cases / 3, $"Only {rendered} templates rendered.");
    }

    private static bool CanRun(string code)
    {
        try
        {
            using var process = Process.Start(new ProcessStartInfo("python3", ["-c", code]) { RedirectStandardError = true })!;
            process.WaitForExit();
            return process.ExitCode == 0;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return false; // no Python
        }
    }

    private static async Task<string> Run(string input, params string[] arguments)
    {
        var start = new ProcessStartInfo("python3", arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            StandardInputEncoding = new UTF8Encoding(false),
            StandardOutputEncoding = Encoding.UTF8,
        };
        using var process = Process.Start(start)!;
        var output = process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        await process.StandardInput.WriteAsync(input.AsMemory(), TestContext.Current.CancellationToken);
        process.StandardInput.Close();
        return await output;
    }
}
