namespace XDeepServe.Transformerless.Mixture;

/// <summary>
/// Attention here, experts there (paper §5.2): how many of each, and the domains into which attention is divided. Neighbouring
/// attention ranks share a domain, as evenly as it gets; all domains share all experts.
/// </summary>
public sealed record SplitPlan
{
    /// <summary>Checks the numbers.</summary>
    /// <param name="attention">Ranks with attention.</param>
    /// <param name="experts">Ranks with experts.</param>
    /// <param name="domains">Domains.</param>
    /// <exception cref="ArgumentException">They do not go together.</exception>
    public SplitPlan(int attention, int experts, int domains = 1)
    {
        if (attention < 1 || experts < 1 || domains < 1 || domains > attention)
            throw new ArgumentException($"{attention} attention and {experts} expert ranks in {domains} domains cannot be: each kind needs a rank, and each domain one with attention.");
        (Attention, Experts, Domains) = (attention, experts, domains);
    }

    /// <summary>Ranks with attention.</summary>
    public int Attention { get; }

    /// <summary>Ranks with experts.</summary>
    public int Experts { get; }

    /// <summary>Domains.</summary>
    public int Domains { get; }

    /// <summary>The domain of an attention rank.</summary>
    public int DomainOf(int member)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(member, Attention);
        int domain = 0;
        while (FirstOf(domain + 1) <= member)
            domain++;
        return domain;
    }

    /// <summary>A domain's first epoch.</summary>
    internal MixtureEpoch EpochOf(int domain, ExpertLayout layout) => new(
        domain, [.. Enumerable.Range(FirstOf(domain), FirstOf(domain + 1) - FirstOf(domain))], [.. Enumerable.Range(0, Experts)], layout, Colocated: false);

    /// <summary>Everybody, for what concerns all domains.</summary>
    internal MixtureEpoch Everybody(ExpertLayout layout) => new(Domains, [.. Enumerable.Range(0, Attention)], [.. Enumerable.Range(0, Experts)], layout, Colocated: false);

    private int FirstOf(int domain) => (int)((long)domain * Attention / Domains);
}
