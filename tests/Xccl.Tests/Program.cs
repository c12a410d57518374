using Xunit.MicrosoftTestingPlatform;

namespace XDeepServe.Xccl.Tests;

/// <summary>The tests, or with <c>rank</c> as first argument one rank that a test has started and may kill.</summary>
internal static class Program
{
    private static async Task<int> Main(string[] arguments)
    {
        if (arguments is ["rank", ..])
            return Dying.ChildRank.Run(arguments[1..]);
        return arguments.Any(argument => argument is "-automated" or "@@")
            ? await Xunit.Runner.InProc.SystemConsole.ConsoleRunner.Run(arguments)
            : await TestPlatformTestFramework.RunAsync(arguments, SelfRegisteredExtensions.AddSelfRegisteredExtensions);
    }
}
