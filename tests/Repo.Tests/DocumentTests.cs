using System.Text.RegularExpressions;

namespace XDeepServe.Repo.Tests;

/// <summary>What the documents promise exists.</summary>
public sealed partial class DocumentTests
{
    private const int MostReadmeLines = 150;

    public static TheoryData<string> Documents => new(Repository.Files("docs", "*.md").Append("README.md"));

    [Fact]
    public void The_readme_is_short() =>
        Assert.InRange(Repository.Read("README.md").Split('\n').Length, 10, MostReadmeLines);

    [Theory]
    [MemberData(nameof(Documents))]
    public void Commands_exist(string document)
    {
        HashSet<string> commands = [.. CommandNames().SelectMany(file => file)];
        foreach (Match call in Calls().Matches(Repository.Read(document)))
            Assert.True(commands.Contains(call.Groups[1].Value), $"{document} calls '{call.Value.Trim()}', but xds has no command '{call.Groups[1].Value}'.");
    }

    [Theory]
    [MemberData(nameof(Documents))]
    public void Links_lead_somewhere(string document)
    {
        string folder = Path.GetDirectoryName(Path.Combine(Repository.Root, document))!;
        foreach (Match link in Links().Matches(Repository.Read(document)))
        {
            string target = link.Groups[1].Value.Split('#')[0];
            if (target.Length == 0 || target.Contains("://", StringComparison.Ordinal)) continue;
            Assert.True(Path.Exists(Path.Combine(folder, target)), $"{document} points to {target}, which is not there.");
        }
    }

    [Theory]
    [MemberData(nameof(Documents))]
    public void Source_paths_exist(string document)
    {
        foreach (Match path in SourcePaths().Matches(Repository.Read(document)))
            Assert.True(Path.Exists(Path.Combine(Repository.Root, path.Groups[1].Value)), $"{document} names {path.Groups[1].Value}, which is not there.");
    }

    private static IEnumerable<IEnumerable<string>> CommandNames() =>
        Repository.Files("src/Cli", "*.cs").Select(file => Definitions().Matches(Repository.Read(file)).Select(match => match.Groups[1].Value));

    [GeneratedRegex("(?:: base|new Command)\\(\"([a-z-]+)\"")]
    private static partial Regex Definitions();

    [GeneratedRegex(@"(?:^|[\s`])(?:xds|dotnet run [^\n]*src/Cli --) ([a-z][a-z-]*)\b", RegexOptions.Multiline)]
    private static partial Regex Calls();

    [GeneratedRegex(@"\]\(([^)\s]+)\)")]
    private static partial Regex Links();

    [GeneratedRegex(@"`((?:src|tests|docs|bench|models|\.ci)/[\w./-]*)`")]
    private static partial Regex SourcePaths();
}
