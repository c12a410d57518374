using System.Text.RegularExpressions;

namespace XDeepServe.Repo.Tests;

/// <summary>Rules that hold for every source file.</summary>
public sealed class SourceTests
{
    private const int MostLines = 400;

    private static readonly string[] ForbiddenNames =
        ["utils", "util", "common", "helpers", "helper", "managers", "manager", "abstractions", "extensions", "misc", "shared"];

    [Fact]
    public void Native_calls_stay_in_the_cellar_and_on_the_ground_floor() => Forbid(
        @"\b(DllImport|LibraryImport|NativeLibrary)\b",
        "calls native code: only Kernels and Xccl may",
        "Kernels", "Xccl", "src/Training/Running/Torch.cs"); // the last finds libtorch, which TorchSharp calls

    [Fact]
    public void Arguments_and_environment_are_read_in_the_executables_alone() => Forbid(
        @"\bEnvironment\s*\.\s*(GetEnvironmentVariables?|GetCommandLineArgs|ExpandEnvironmentVariables|CommandLine)\b|\bAddEnvironmentVariables\b|\bAddCommandLine\b",
        "reads arguments or the environment: only Cli may, and hands a settings record down",
        "Cli", "Training");

    [Fact]
    public void No_mutable_statics() => Forbid(
        @"^\s*(?:\[ThreadStatic\]\s*)?(?:public|internal|private|protected)[\w\s]*\bstatic\s+(?!readonly|class|partial|extern|unsafe|async|abstract|virtual|implicit|explicit|event\b)[\w<>\[\],.?]+\s+\w+\s*(?:=(?!>)[^;]*)?;",
        "holds state in a static field: make it readonly or give it an owner");

    [Fact]
    public void Files_are_short()
    {
        foreach (string file in Sources())
        {
            int lines = File.ReadLines(Path.Combine(Repository.Root, file)).Count();
            Assert.True(lines <= MostLines, $"{file} has {lines} lines, more than {MostLines}: split it by noun.");
        }
    }

    [Fact]
    public void Names_say_what_a_thing_is()
    {
        foreach (string path in Repository.Folders("src").Concat(Repository.Folders("tests")).Concat(Sources()))
        {
            string name = Path.GetFileNameWithoutExtension(path);
            Assert.False(ForbiddenNames.Contains(name, StringComparer.OrdinalIgnoreCase), $"{path}: '{name}' says nothing about what is in it.");
        }
    }

    [Fact]
    public void Folders_are_single_words()
    {
        foreach (string folder in Repository.Folders("src"))
            Assert.Matches("^[A-Za-z0-9]+$", Path.GetFileName(folder));
    }

    [Fact]
    public void Nothing_is_left_for_later()
    {
        var marker = new Regex(@"\b(" + "TODO|FIXME|HACK|XXX" + @")\b|NotImplementedException", RegexOptions.CultureInvariant);
        foreach (string file in Repository.Files("src", "*.cs"))
            Assert.False(marker.IsMatch(Repository.Read(file)), $"{file} leaves something for later.");
    }

    [Fact]
    public void No_catch_hides_an_error()
    {
        var empty = new Regex(@"catch\s*(\([^)]*\))?\s*(when\s*\([^{]*\))?\s*\{\s*\}", RegexOptions.CultureInvariant);
        foreach (string file in Repository.Files("src", "*.cs"))
            Assert.False(empty.IsMatch(Repository.Read(file)), $"{file} swallows an exception without a word: say in the block why that is right.");
    }

    private static IEnumerable<string> Sources() =>
        Repository.Files("src", "*.cs").Concat(Repository.Files("tests", "*.cs")).Concat(Repository.Files("bench", "*.cs"));

    private static void Forbid(string pattern, string complaint, params string[] exempt)
    {
        var rule = new Regex(pattern, RegexOptions.CultureInvariant | RegexOptions.Multiline);
        foreach (string file in Repository.Files("src", "*.cs").Where(file => !exempt.Contains(file.Split('/')[1]) && !exempt.Contains(file)))
        {
            Match match = rule.Match(Repository.Code(file));
            Assert.False(match.Success, $"{file} {complaint}: {match.Value.Trim()}");
        }
    }
}
