namespace XDeepServe.Models.Loading;

/// <summary>Paths without links.</summary>
public static class RealPath
{
    /// <summary>The path that a full path leads to when every link on the way is followed.</summary>
    /// <param name="path">A full path to something that is there.</param>
    /// <exception cref="IOException">It is not there, or its links go in a circle.</exception>
    public static string Of(string path)
    {
        string real = Path.GetPathRoot(path)!;
        foreach (string step in path[real.Length..].Split(Path.DirectorySeparatorChar, StringSplitOptions.RemoveEmptyEntries))
        {
            string next = Path.Combine(real, step);
            FileSystemInfo entry = Directory.Exists(next) ? new DirectoryInfo(next) : new FileInfo(next);
            real = entry.ResolveLinkTarget(returnFinalTarget: true) is { } target ? Of(target.FullName) : next;
        }
        return real;
    }
}
