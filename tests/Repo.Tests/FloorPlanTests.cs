namespace XDeepServe.Repo.Tests;

public sealed class FloorPlanTests
{
    [Fact]
    public void Repository_root_is_found() => Assert.True(Directory.Exists(AppContext.BaseDirectory));
}
