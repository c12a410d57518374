using Xunit.MicrosoftTestingPlatform;

namespace XDeepServe.FlowServe.Tests;

/// <summary>The tests, or with <c>executor</c> as first argument a Task Executor that a test has started and may kill.</summary>
internal static class Program
{
    private static async Task<int> Main(string[] arguments)
    {
        if (arguments is ["executor", ..])
            return DistFlow.ChildExecutor.Run(arguments[1]);
        return arguments.Any(argument => argument is "-automated" or "@@")
            ? await Xunit.Runner.InProc.SystemConsole.ConsoleRunner.Run(arguments)
            : await TestPlatformTestFramework.RunAsync(arguments, SelfRegisteredExtensions.AddSelfRegisteredExtensions);
    }
}
