using XDeepServe.Training.Running;

namespace XDeepServe.Training.Tests;

public sealed class ConsoleWatcherTests
{
    [Theory]
    [InlineData(59, "00:00:59")]
    [InlineData((30 * 3600) + (5 * 60) + 9, "30:05:09")]
    [InlineData(100 * 86_400, "2400:00:00")]
    public void The_time_left_counts_hours_beyond_a_day(int seconds, string shown) => Assert.Equal(shown, ConsoleWatcher.Clock(TimeSpan.FromSeconds(seconds)));
}
