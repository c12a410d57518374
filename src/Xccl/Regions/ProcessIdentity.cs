using System.Globalization;

namespace XDeepServe.Xccl.Regions;

/// <summary>A process, told apart from a later one with the same id by when it started.</summary>
/// <param name="Id">Process id.</param>
/// <param name="Start">Clock ticks between the machine's start and the process's.</param>
/// <param name="Space">The namespace in which the id holds: containers that share memory may each have their own process 7.</param>
internal readonly record struct ProcessIdentity(int Id, ulong Start, ulong Space)
{
    /// <summary>This process.</summary>
    public static ProcessIdentity Own()
    {
        TryRead(Environment.ProcessId, out ulong start, out _);
        return new ProcessIdentity(Environment.ProcessId, start, OwnSpace());
    }

    /// <summary>The id holds here: this process can see whether that one lives.</summary>
    public bool IsHere => Space == OwnSpace();

    /// <summary>
    /// False once the process has ended, also while its parent has not yet taken notice. One that cannot be seen from here is
    /// given the benefit of the doubt.
    /// </summary>
    public bool IsAlive() => !IsHere || (TryRead(Id, out ulong start, out char state) && start == Start && state is not ('Z' or 'X'));

    /// <summary>The number in the link's name, "pid:[4026531836]"; 0 where the system has none.</summary>
    private static ulong OwnSpace()
    {
        string? name = new FileInfo("/proc/self/ns/pid").LinkTarget;
        return name is not null && ulong.TryParse(name.AsSpan(name.IndexOf('[') + 1).TrimEnd(']'), NumberStyles.None, CultureInfo.InvariantCulture, out ulong space) ? space : 0;
    }

    /// <summary>Reads what the system says about a process; only slow waits come here.</summary>
    private static bool TryRead(int id, out ulong start, out char state)
    {
        start = 0;
        state = ' ';
        string text;
        try
        {
            text = File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{id}/stat"));
        }
        catch (IOException)
        {
            return false; // ended, perhaps while it was being read
        }
        // The name, in brackets, may itself hold blanks and brackets; the state is the first word after it, the start the 20th.
        string[] words = text[(text.LastIndexOf(')') + 2)..].Split(' ');
        state = words[0][0];
        return words.Length > 19 && ulong.TryParse(words[19], NumberStyles.None, CultureInfo.InvariantCulture, out start);
    }
}
