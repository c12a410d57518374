using System.Globalization;

namespace XDeepServe.Xccl.Regions;

/// <summary>A process, told apart from a later one with the same id by when it started.</summary>
/// <param name="Id">Process id.</param>
/// <param name="Start">Clock ticks between the machine's start and the process's.</param>
internal readonly record struct ProcessIdentity(int Id, ulong Start)
{
    /// <summary>This process.</summary>
    public static ProcessIdentity Own()
    {
        TryRead(Environment.ProcessId, out ulong start, out _);
        return new ProcessIdentity(Environment.ProcessId, start);
    }

    /// <summary>False once the process has ended, also while its parent has not yet taken notice.</summary>
    public bool IsAlive() => TryRead(Id, out ulong start, out char state) && start == Start && state is not ('Z' or 'X');

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
