using YamlDotNet.RepresentationModel;

namespace XDeepServe.Transformerless;

/// <summary>The fields that a mapping of a topology file may have, and what each of them adds to what was read so far.</summary>
/// <param name="shape">What the mapping is, for whoever writes something else.</param>
/// <param name="stranger">What precedes a field that is not among them, such as <c>a worker has no</c>.</param>
/// <param name="fields">By name.</param>
internal sealed class YamlFields<T>(string shape, string stranger, Dictionary<string, Func<T, YamlNode, T>> fields)
{
    /// <summary>Reads a mapping.</summary>
    /// <exception cref="ArgumentException">It says what is wrong, and in which line.</exception>
    public T Read(YamlNode node, T start)
    {
        foreach ((YamlNode key, YamlNode value) in (node as YamlMappingNode ?? throw TopologyFile.Wrong(node, shape)).Children)
        {
            if (!fields.TryGetValue(TopologyFile.Scalar(key), out Func<T, YamlNode, T>? add))
                throw TopologyFile.Wrong(key, $"{stranger} '{key}'; there are {string.Join(", ", fields.Keys)}");
            start = add(start, value);
        }
        return start;
    }
}
