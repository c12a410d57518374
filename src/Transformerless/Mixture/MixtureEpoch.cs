using System.Globalization;

namespace XDeepServe.Transformerless.Mixture;

/// <summary>
/// Who takes part in one domain's exchange, and where the experts are: what holds until ranks go or come. Ranks of the exchange's
/// group are attention members, then expert members, in order; a member that has both is one of each kind. Never changes.
/// </summary>
/// <param name="Domain">Number of the domain.</param>
/// <param name="Attention">Members with attention, rising; numbered once and for all.</param>
/// <param name="Experts">Members with experts, rising; numbered once and for all.</param>
/// <param name="Layout">Where the experts are; its rank r is the r-th expert member.</param>
/// <param name="Colocated">Every member has both: the two lists are the same.</param>
internal sealed record MixtureEpoch(int Domain, IReadOnlyList<int> Attention, IReadOnlyList<int> Experts, ExpertLayout Layout, bool Colocated)
{
    /// <summary>Rises whenever all ranks of a service agree anew on who they are.</summary>
    public int Version { get; init; }

    /// <summary>Members that have come back, and the version in which each did so last: whoever went and came is not who was there before.</summary>
    public IReadOnlyList<ReturnedMember> Returned { get; init; } = [];

    /// <summary>Ranks of the exchange's group.</summary>
    public int Ranks => Colocated ? Attention.Count : Attention.Count + Experts.Count;

    /// <summary>Rank of a member with attention; -1 if it is none.</summary>
    public int RankOfAttention(int member) => IndexOf(Attention, member);

    /// <summary>Rank of a member with experts; -1 if it is none.</summary>
    public int RankOfExperts(int member) => IndexOf(Experts, member) is >= 0 and int index ? index + (Colocated ? 0 : Attention.Count) : -1;

    /// <summary>Names a rank in messages: attention 3, experts 0.</summary>
    public string NameOf(int rank) => rank < Attention.Count
        ? string.Create(CultureInfo.InvariantCulture, $"{(Colocated ? "rank" : "attention")}-{Attention[rank]}")
        : string.Create(CultureInfo.InvariantCulture, $"expert-{Experts[rank - Attention.Count]}");

    /// <summary>The epoch's group: another for every version and set of members, so that nobody meets one who counts differently.</summary>
    /// <param name="name">Names the service on this host.</param>
    public string GroupOf(string name)
    {
        ulong hash = 0xCBF29CE484222325;
        foreach (int member in Attention.Append(-1).Concat(Experts))
            hash = (hash ^ (uint)member) * 0x100000001B3;
        return string.Create(CultureInfo.InvariantCulture, $"{name}_{Domain}_{Version}_{hash:x}");
    }

    /// <summary>Whether the same members take part, none of which has gone and come back in between.</summary>
    public bool HasMembersOf(MixtureEpoch other) => Attention.SequenceEqual(other.Attention) && Experts.SequenceEqual(other.Experts)
        && Returned.Where(TakesPart).SequenceEqual(other.Returned.Where(TakesPart));

    /// <summary>The epoch that follows when ranks are gone, its layout not yet known. There may be nobody with experts in it, or nobody with attention.</summary>
    public MixtureEpoch Without(IReadOnlyCollection<int> lostRanks)
    {
        int first = Colocated ? 0 : Attention.Count;
        return this with
        {
            Attention = [.. Attention.Where((_, rank) => !lostRanks.Contains(rank))],
            Experts = [.. Experts.Where((_, index) => !lostRanks.Contains(first + index))],
            Version = Version + 1,
        };
    }

    /// <summary>The epoch that follows when a member comes back.</summary>
    public MixtureEpoch With(bool experts, int member) => this with
    {
        Attention = experts && !Colocated ? Attention : [.. Attention.Append(member).Order()],
        Experts = experts || Colocated ? [.. Experts.Append(member).Order()] : Experts,
        Version = Version + 1,
        Returned = [.. Returned.Where(one => one.Experts != experts || one.Member != member).Append(new ReturnedMember(experts, member, Version + 1))],
    };

    private bool TakesPart(ReturnedMember one) => (one.Experts ? Experts : Attention).Contains(one.Member);

    private static int IndexOf(IReadOnlyList<int> members, int member)
    {
        for (int index = 0; index < members.Count; index++)
            if (members[index] == member)
                return index;
        return -1;
    }
}

/// <summary>A member that has come back.</summary>
/// <param name="Experts">Whether it has experts alone.</param>
/// <param name="Member">Its number.</param>
/// <param name="Version">Of the first epoch in which it is there again.</param>
internal readonly record struct ReturnedMember(bool Experts, int Member, int Version);
