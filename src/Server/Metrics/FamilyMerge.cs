using System.Text;

namespace XDeepServe.Server.Metrics;

/// <summary>Joins the metrics of several processes: a family's samples stand together, behind one head, as Prometheus wants them.</summary>
internal sealed class FamilyMerge
{
    private readonly Dictionary<string, StringBuilder> _families = [];
    private readonly List<string> _order = [];

    /// <summary>Adds a process's text, as <see cref="PrometheusText"/> writes it.</summary>
    public void Add(string text)
    {
        StringBuilder? family = null;
        bool known = false;
        foreach (ReadOnlySpan<char> line in text.AsSpan().EnumerateLines())
        {
            if (line.StartsWith("# HELP ", StringComparison.Ordinal))
            {
                string name = line[7..][..line[7..].IndexOf(' ')].ToString();
                known = _families.TryGetValue(name, out family);
                if (!known)
                {
                    _order.Add(name);
                    _families.Add(name, family = new StringBuilder());
                }
            }
            else if (line.IsEmpty)
            {
                continue;
            }
            if (!(known && line[0] == '#'))
            {
                family?.Append(line).Append('\n');
            }
        }
    }

    /// <inheritdoc/>
    public override string ToString() => string.Concat(_order.Select(name => _families[name].ToString()));
}
