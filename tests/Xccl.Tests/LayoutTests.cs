using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using XDeepServe.Xccl.Messages;
using XDeepServe.Xccl.Regions;

namespace XDeepServe.Xccl.Tests;

/// <summary>Memory that other processes read: offsets are a contract.</summary>
public sealed class LayoutTests
{
    [Fact]
    public void The_header_is_as_written_down()
    {
        Assert.Equal(4096, Unsafe.SizeOf<RegionHeader>());
        Offsets<RegionHeader>(
            (nameof(RegionHeader.Magic), 0), (nameof(RegionHeader.Version), 8), (nameof(RegionHeader.Sleeps), 12), (nameof(RegionHeader.State), 16),
            (nameof(RegionHeader.Geometry), 24), (nameof(RegionHeader.Epoch), 32), (nameof(RegionHeader.Rank), 40), (nameof(RegionHeader.Ranks), 44),
            (nameof(RegionHeader.OwnerId), 48), (nameof(RegionHeader.OwnerStart), 56), (nameof(RegionHeader.Bell), 64), (nameof(RegionHeader.Sleepers), 72));
    }

    [Fact]
    public void A_ring_field_is_one_cache_line()
    {
        Assert.Equal(RegionLayout.FieldBytes, Unsafe.SizeOf<RingField>());
        Offsets<RingField>(
            (nameof(RingField.Stamp), 0), (nameof(RingField.EventId), 8), (nameof(RingField.ChunkId), 12), (nameof(RingField.Bytes), 16),
            (nameof(RingField.Kinds), 20), (nameof(RingField.Total), 24), (nameof(RingField.Inline), 32));
    }

    [Fact]
    public void Areas_neither_overlap_nor_share_lines()
    {
        RegionGeometry geometry = new() { Ranks = 3, Lanes = 2, Slots = 4, SlotBytes = 192, RecordBytes = 64, AppBytes = 1000, Channels = [128, 320] };
        RegionLayout layout = new(geometry);
        List<(long Start, long Bytes)> areas = [(0, RegionHeader.Bytes)];
        for (int peer = 0; peer < 3; peer++)
        {
            areas.Add((layout.Link(peer), 64));
            for (int lane = 0; lane < 2; lane++)
            {
                areas.Add((layout.Acknowledgement(peer, lane), 64));
                areas.Add((layout.RingFields(peer, lane), 4 * 64));
                areas.Add((layout.RingSlots(peer, lane), 4 * 192));
            }
            for (uint turn = 0; turn < 2; turn++)
            {
                areas.Add((layout.Record(turn, peer), 128));
                for (int channel = 0; channel < 2; channel++)
                {
                    areas.Add((layout.ExchangeField(channel, turn, peer), 64));
                    areas.Add((layout.Block(channel, turn, peer), geometry.Channels[channel]));
                }
            }
            for (int channel = 0; channel < 2; channel++)
                areas.Add((layout.Release(channel, peer), 64));
        }
        areas.Add((layout.App, 1000));
        areas.Sort();
        Assert.All(areas, area => Assert.Equal(0, area.Start % 64));
        for (int index = 1; index < areas.Count; index++)
            Assert.True(areas[index - 1].Start + areas[index - 1].Bytes <= areas[index].Start);
        Assert.True(layout.App + 1000 <= layout.TotalBytes);
        Assert.Equal(layout.Block(1, 0, 2), layout.Block(1, 2, 2));
    }

    [Theory]
    [InlineData(0, 1, 16, 64)]
    [InlineData(2, 0, 16, 64)]
    [InlineData(2, 1, 12, 64)]
    [InlineData(2, 1, 16, 100)]
    public void Impossible_geometry_is_refused(int ranks, int lanes, int slots, int slotBytes) =>
        Assert.Throws<ArgumentException>(() => new RegionLayout(new RegionGeometry { Ranks = ranks, Lanes = lanes, Slots = slots, SlotBytes = slotBytes }));

    [Fact]
    public void Every_number_of_the_geometry_counts()
    {
        RegionGeometry geometry = TestGroup.Geometry(2, 64, 128);
        RegionGeometry[] others =
        [
            geometry with { Ranks = 3 }, geometry with { Lanes = 2 }, geometry with { Slots = 8 }, geometry with { SlotBytes = 512 },
            geometry with { RecordBytes = 64 }, geometry with { AppBytes = 0 }, geometry with { Channels = [128, 64] }, geometry with { Channels = [64] },
        ];
        Assert.All(others, other => Assert.NotEqual(geometry.Fingerprint(), other.Fingerprint()));
        Assert.Equal(geometry.Fingerprint(), TestGroup.Geometry(2, 64, 128).Fingerprint());
    }

    private static void Offsets<T>(params (string Field, int Offset)[] expected) =>
        Assert.All(expected, pair => Assert.Equal(pair.Offset, (int)Marshal.OffsetOf<T>(pair.Field)));
}
