using System.Diagnostics;
using XDeepServe.Xccl;
using XDeepServe.Xccl.Regions;
using XDeepServe.Xccl.Tokens;
using XDeepServe.Xccl.Waiting;
using Split = XDeepServe.Xccl.Topology;

namespace XDeepServe.Transformerless.Mixture;

/// <summary>A rank's place in an epoch's group, and the way into it.</summary>
internal sealed class EpochGroup : IDisposable
{
    private const int RecordPatience = 4; // a rank's word may have to wait for its step to end
    private static readonly TimeSpan Attempt = TimeSpan.FromSeconds(2);
    private EpochGroup(MixtureEpoch epoch, Communicator group) => (Epoch, Group) = (epoch, group);

    /// <summary>Who takes part.</summary>
    public MixtureEpoch Epoch { get; }

    /// <summary>This rank.</summary>
    public Communicator Group { get; }

    /// <summary>Who has attention and who has experts; of an epoch that is not colocated.</summary>
    public static Split SplitOf(MixtureEpoch epoch, MixtureOptions options) =>
        new(epoch.Attention.Count, epoch.Experts.Count, epoch.Layout.TargetsPerRank, options.Trampolines && epoch.Experts.Count > 1 && epoch.Attention.Count > 1);

    /// <summary>Joins an epoch's group.</summary>
    /// <param name="options">How ranks share experts.</param>
    /// <param name="shape">Shape of the rows; null for a group that exchanges none, only records.</param>
    /// <param name="epoch">Who takes part.</param>
    /// <param name="rank">This rank.</param>
    /// <param name="patience">How long the others may take to come.</param>
    /// <param name="cancel">Ends the wait.</param>
    /// <exception cref="XcclException">A rank did not come in time, or died.</exception>
    public static EpochGroup Join(MixtureOptions options, TokenShape? shape, MixtureEpoch epoch, int rank, TimeSpan patience, CancellationToken cancel = default) =>
        new(epoch, Communicator.Join(new GroupOptions
        {
            Name = epoch.GroupOf(options.Name),
            Rank = rank,
            Geometry = new RegionGeometry
            {
                Ranks = epoch.Ranks,
                Slots = 2,
                SlotBytes = 64,
                RecordBytes = shape is null ? 4096 : 64,
                Channels = [.. shape is null ? [] : epoch.Colocated ? AllToAll.Channels(shape) : SplitOf(epoch, options).Channels(shape)],
            },
            Strategy = shape is null ? WaitStrategy.Block : options.Strategy,
            Timeout = shape is null ? options.Timeout * RecordPatience : options.Timeout,
            JoinTimeout = patience,
        }, cancel));

    /// <summary>Joins one epoch after another until all of one have met.</summary>
    /// <param name="options">How ranks share experts.</param>
    /// <param name="shape">As in <see cref="Join"/>.</param>
    /// <param name="next">The epoch to meet in; called again after an attempt that came to nothing. Null to give up.</param>
    /// <param name="rankIn">This rank in an epoch; negative if it is no part of it.</param>
    /// <param name="cancel">Ends the wait.</param>
    /// <returns>Null if it was given up, or they did not meet in time.</returns>
    public static EpochGroup? JoinNext(MixtureOptions options, TokenShape? shape, Func<MixtureEpoch?> next, Func<MixtureEpoch, int> rankIn, CancellationToken cancel = default)
    {
        long started = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(started) < options.JoinTimeout)
        {
            cancel.ThrowIfCancellationRequested();
            if (next() is not { } epoch || rankIn(epoch) < 0)
                return null;
            try
            {
                return Join(options, shape, epoch, rankIn(epoch), Attempt, cancel);
            }
            catch (XcclException)
            {
                continue; // somebody else has gone, or is not there yet: look again
            }
        }
        return null;
    }

    /// <inheritdoc/>
    public void Dispose() => Group.Dispose();
}
