using System.Globalization;
using System.Text;

namespace XDeepServe.Server.Metrics;

/// <summary>Prometheus text format, version 0.0.4. Names may hold colons, as vLLM's do.</summary>
internal sealed class PrometheusText
{
    /// <summary>Media type of the text.</summary>
    public const string ContentType = "text/plain; version=0.0.4; charset=utf-8";

    private readonly StringBuilder _text = new(16 * 1024);

    /// <summary>Opens a family: its help and type lines.</summary>
    public void Head(string name, string type, string help)
    {
        _text.Append("# HELP ").Append(name).Append(' ').Append(help).Append('\n');
        _text.Append("# TYPE ").Append(name).Append(' ').Append(type).Append('\n');
    }

    /// <summary>One sample.</summary>
    public void Sample(string name, ReadOnlySpan<(string Name, string Value)> labels, double value)
    {
        Series(name, labels, null);
        Number(value);
    }

    /// <summary>A family with a single sample.</summary>
    public void Single(string name, string type, string help, ReadOnlySpan<(string Name, string Value)> labels, double value)
    {
        Head(name, type, help);
        Sample(name, labels, value);
    }

    /// <summary>A histogram's samples.</summary>
    /// <param name="name">Family name, without suffix.</param>
    /// <param name="labels">Labels of the series.</param>
    /// <param name="bounds">Upper bounds, rising, without infinity.</param>
    /// <param name="counts">Observations per bucket (not cumulative), one more than bounds.</param>
    /// <param name="sum">Sum of all observations.</param>
    public void Histogram(string name, ReadOnlySpan<(string Name, string Value)> labels, ReadOnlySpan<double> bounds, ReadOnlySpan<long> counts, double sum)
    {
        long total = 0;
        string bucket = name + "_bucket";
        for (int i = 0; i < counts.Length; i++)
        {
            total += counts[i];
            Series(bucket, labels, i < bounds.Length ? Bound(bounds[i]) : "+Inf");
            Number(total);
        }
        Series(name + "_sum", labels, null);
        Number(sum);
        Series(name + "_count", labels, null);
        Number(total);
    }

    /// <inheritdoc/>
    public override string ToString() => _text.ToString();

    // Bounds print as the Python client does: 1 is "1.0".
    private static string Bound(double bound) => double.IsInteger(bound) && Math.Abs(bound) < 1e15
        ? bound.ToString("F1", CultureInfo.InvariantCulture)
        : bound.ToString("R", CultureInfo.InvariantCulture);

    private void Series(string name, ReadOnlySpan<(string Name, string Value)> labels, string? le)
    {
        _text.Append(name);
        char separator = '{';
        if (le is not null)
        {
            _text.Append(separator).Append("le=\"").Append(le).Append('"');
            separator = ',';
        }
        foreach ((string label, string value) in labels)
        {
            _text.Append(separator).Append(label).Append("=\"");
            Escaped(value);
            _text.Append('"');
            separator = ',';
        }
        if (separator == ',')
        {
            _text.Append('}');
        }
        _text.Append(' ');
    }

    private void Escaped(string value)
    {
        foreach (char c in value)
        {
            _ = c switch
            {
                '\\' => _text.Append("\\\\"),
                '"' => _text.Append("\\\""),
                '\n' => _text.Append("\\n"),
                _ => _text.Append(c),
            };
        }
    }

    private void Number(double value)
    {
        _ = value switch
        {
            double.PositiveInfinity => _text.Append("+Inf"),
            double.NegativeInfinity => _text.Append("-Inf"),
            _ => _text.Append(CultureInfo.InvariantCulture, $"{value:R}"),
        };
        _text.Append('\n');
    }
}
