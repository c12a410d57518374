using System.CommandLine;
using System.CommandLine.Parsing;

namespace XDeepServe.Cli;

/// <summary>Flags of a command line, to be handed down to another process.</summary>
internal static class GivenFlags
{
    /// <summary>Those of some options that were given, as they were.</summary>
    public static IEnumerable<string> Of(ParseResult result, IEnumerable<Option> options)
    {
        foreach (Option option in options)
        {
            if (result.GetResult(option) is not { Implicit: false } given)
                continue;
            yield return option.Name;
            foreach (Token token in given.Tokens)
                yield return token.Value;
        }
    }
}
