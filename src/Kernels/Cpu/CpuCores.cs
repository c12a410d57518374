using System.Globalization;

namespace XDeepServe.Kernels.Cpu;

/// <summary>The processor cores that this process may use.</summary>
public static class CpuCores
{
    /// <summary>How many, as the calling thread sees it: what <see cref="KeepTo"/> said, and no more than a container's share.</summary>
    public static int Count => Math.Min(Environment.ProcessorCount, ThreadAffinity.Cores());

    /// <summary>Keeps all threads of this process to some cores, and those that they start. Before any computes (Linux; elsewhere nothing happens).</summary>
    /// <param name="cores">Numbers of cores, rising.</param>
    /// <exception cref="ArgumentException">No such cores are there.</exception>
    public static void KeepTo(IReadOnlyList<int> cores)
    {
        if (!OperatingSystem.IsLinux())
            return;
        // Those that start meanwhile are started by one that is kept already, or are seen.
        foreach (string thread in Directory.GetDirectories("/proc/self/task"))
            if (!ThreadAffinity.Keep(int.Parse(Path.GetFileName(thread), NumberStyles.None, CultureInfo.InvariantCulture), cores) && Directory.Exists(thread))
                throw NotThere();
        // The system leaves out the cores that are not there, as long as one is.
        if (ThreadAffinity.Cores() < cores.Count)
            throw NotThere();

        ArgumentException NotThere() => new($"This process cannot be kept to cores {string.Join(", ", cores)}: they are not there, or not its to use.", nameof(cores));
    }
}
