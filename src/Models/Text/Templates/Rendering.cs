using System.Runtime.CompilerServices;
using System.Text;

namespace XDeepServe.Models.Text.Templates;

/// <summary>One run of a template: its output, the names in sight, and the work it may still do.</summary>
/// <param name="clock">Tells the time.</param>
internal sealed class Rendering(TimeProvider clock)
{
    /// <summary>The most characters a text may have.</summary>
    public const int LongestText = 1 << 26;

    /// <summary>The most entries a list may have.</summary>
    public const int LongestList = 1 << 20;

    private const long Budget = 20_000_000; // steps; eight characters or one list entry made count as one
    private long spent;

    /// <summary>What has been put out.</summary>
    public StringBuilder Output { get; private set; } = new();

    /// <summary>The names in sight.</summary>
    public Scope Scope { get; set; } = new(null);

    /// <summary>Tells the time.</summary>
    public TimeProvider Clock { get; } = clock;

    /// <summary>Hides the variables given behind those that the template sets.</summary>
    public void OpenTemplateScope() => Scope = new(Scope);

    /// <summary>Counts a step; refuses a run that is too long or nested too deeply.</summary>
    public void Step(Position at)
    {
        if (!RuntimeHelpers.TryEnsureSufficientExecutionStack())
            throw at.Error("the template is nested too deeply.");
        Spend(1, at);
    }

    /// <summary>Puts text out.</summary>
    public void Write(string text, Position at)
    {
        Spend(text.Length / 8, at);
        if (Output.Length + text.Length > LongestText)
            throw at.Error($"the output is longer than {LongestText} characters.");
        Output.Append(text);
    }

    /// <summary>Counts a text about to be made.</summary>
    /// <param name="length">Its length.</param>
    /// <param name="at">Where.</param>
    public void ChargeText(long length, Position at)
    {
        if (length > LongestText)
            throw at.Error($"a text is longer than {LongestText} characters.");
        Spend(length / 8, at);
    }

    /// <summary>Counts a search for a part in a text, which may take as long as both lengths multiplied.</summary>
    public void ChargeSearch(long length, long part, Position at) => Spend(length / 8 + length * (part / 64) / 8, at);

    /// <summary>Counts a list about to be made.</summary>
    /// <param name="count">Its length.</param>
    /// <param name="at">Where.</param>
    public void ChargeList(long count, Position at)
    {
        if (count > LongestList)
            throw at.Error($"a list has more than {LongestList} entries.");
        Spend(count, at);
    }

    /// <summary>Runs a statement and gives its output back instead of putting it out.</summary>
    public string Capture(Statement statement) => Capture(() => statement.Run(this));

    /// <summary>Runs something and gives its output back instead of putting it out.</summary>
    public string Capture(Func<Flow> run)
    {
        var outer = Output;
        Output = new();
        try
        {
            run();
            return Output.ToString();
        }
        finally
        {
            Output = outer;
        }
    }

    private void Spend(long steps, Position at)
    {
        spent += steps;
        if (spent > Budget)
            throw at.Error("the template does too much work.");
    }
}
