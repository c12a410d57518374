using XDeepServe.Models;
using XDeepServe.Models.Loading;
using XDeepServe.Transformerless.Mixture;

namespace XDeepServe.Transformerless.Tests.Mixture;

public sealed class MixtureEpochTests
{
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Who_went_and_came_back_is_not_who_was_there(bool colocated)
    {
        using Checkpoint checkpoint = Checkpoint.Open(Served.Folder("mixtral"));
        var config = ModelConfig.Read(checkpoint.Config, checkpoint.GenerationConfig);
        MixtureEpoch first = new(0, [0, 1], [0, 1], ExpertLayout.Plain(config, 2, 0), colocated);
        MixtureEpoch gone = first.Without([1]), back = gone.With(experts: false, 1), again = back.Without([0]).With(experts: false, 0);
        Assert.False(gone.HasMembersOf(first));
        Assert.Equal(first.Attention, back.Attention);
        Assert.Equal(first.Experts, back.Experts);
        Assert.False(back.HasMembersOf(first) || again.HasMembersOf(back));
        Assert.True(back.HasMembersOf(back with { Version = 9 }));
        // A domain in which the one who came back has no part stays as it is.
        Assert.True((back with { Attention = [0] }).HasMembersOf(first with { Attention = [0] }));
    }
}
