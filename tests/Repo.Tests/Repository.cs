using System.Text.RegularExpressions;

namespace XDeepServe.Repo.Tests;

/// <summary>The working tree as the tests read it: nothing that git ignores.</summary>
internal static class Repository
{
    private static readonly string[] Ignored = ["bin", "obj", ".git", ".vs", ".idea", "node_modules", "artifacts", "TestResults"];

    public static string Root { get; } = Find();

    /// <summary>Paths of files below <paramref name="folder"/> that match, relative to the root, with forward slashes.</summary>
    public static IReadOnlyList<string> Files(string folder, string pattern)
    {
        string start = Path.Combine(Root, folder);
        if (!Directory.Exists(start)) return [];
        var files = new List<string>();
        Walk(start, pattern, files);
        files.Sort(StringComparer.Ordinal);
        return files;
    }

    /// <summary>Folders below <paramref name="folder"/>, relative to the root, with forward slashes.</summary>
    public static IEnumerable<string> Folders(string folder)
    {
        foreach (string child in Directory.EnumerateDirectories(Path.Combine(Root, folder)))
        {
            if (Ignored.Contains(Path.GetFileName(child))) continue;
            string relative = Relative(child);
            yield return relative;
            foreach (string below in Folders(relative)) yield return below;
        }
    }

    public static string Read(string path) => File.ReadAllText(Path.Combine(Root, path));

    /// <summary>The program text with comments and string contents blanked, line by line.</summary>
    public static string Code(string path) => Regex.Replace(
        Read(path),
        """("{3,})[\s\S]*?\1|@"(?:[^"]|"")*"|"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*[\s\S]*?\*/""",
        match => new string('\n', match.Value.Count(c => c == '\n')));

    private static void Walk(string folder, string pattern, List<string> files)
    {
        files.AddRange(Directory.EnumerateFiles(folder, pattern).Select(Relative));
        foreach (string child in Directory.EnumerateDirectories(folder))
        {
            if (!Ignored.Contains(Path.GetFileName(child))) Walk(child, pattern, files);
        }
    }

    private static string Relative(string path) => Path.GetRelativePath(Root, path).Replace('\\', '/');

    private static string Find()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "XDeepServe.slnx"))) return folder.FullName;
        }
        throw new InvalidOperationException("XDeepServe.slnx is in no folder above the tests: run them from a checkout.");
    }
}
