using System.Xml.Linq;

namespace XDeepServe.Repo.Tests;

/// <summary>
/// The law of the house: a project may refer only to projects on floors below its own, and neighbours do not see each other.
/// The floors stand here as a table; a floor without a project yet is only a name in it.
/// </summary>
public sealed class FloorPlanTests
{
    /// <summary>Each floor and the floors that it may see.</summary>
    private static readonly Dictionary<string, string[]> Law = new()
    {
        ["Kernels"] = [],
        ["Xccl"] = ["Kernels"],
        ["Models"] = ["Kernels", "Xccl"],
        ["FlowServe"] = ["Kernels", "Xccl", "Models"],
        ["Transformerless"] = ["Kernels", "Xccl", "Models", "FlowServe"],
        ["Alignment"] = ["Kernels", "Xccl", "Models", "FlowServe"],
        ["Training"] = ["Kernels", "Xccl", "Models", "FlowServe", "Alignment"],
        ["Server"] = ["Kernels", "Xccl", "Models", "FlowServe", "Transformerless", "Alignment"],
        ["Cli"] = ["Kernels", "Xccl", "Models", "FlowServe", "Transformerless", "Alignment", "Server"],
    };

    public static TheoryData<string> Projects => new(Repository.Files("src", "*.csproj"));

    [Theory]
    [MemberData(nameof(Projects))]
    public void A_project_sees_only_the_floors_below(string project)
    {
        string floor = Path.GetFileNameWithoutExtension(project);
        Assert.True(Law.TryGetValue(floor, out string[]? below), $"{project} is on no floor: add it to the table and to docs/structure.md.");
        foreach (string reference in References(project))
            Assert.True(below.Contains(reference), $"{project} refers to {reference}, which is not below {floor}.");
    }

    [Theory]
    [MemberData(nameof(Projects))]
    public void A_project_is_named_for_its_folder(string project) =>
        Assert.Equal($"src/{Path.GetFileNameWithoutExtension(project)}/{Path.GetFileName(project)}", project);

    [Fact]
    public void Every_project_is_in_the_solution()
    {
        IEnumerable<string> listed = XDocument.Load(Path.Combine(Repository.Root, "XDeepServe.slnx"))
            .Descendants("Project").Select(project => (string)project.Attribute("Path")!).Order(StringComparer.Ordinal);
        Assert.Equal(Repository.Files("src", "*.csproj").Concat(Repository.Files("tests", "*.csproj")).Order(StringComparer.Ordinal), listed);
    }

    [Fact]
    public void Package_versions_stand_in_one_file()
    {
        foreach (string project in Repository.Files("", "*.csproj"))
        {
            foreach (XElement package in XDocument.Load(Path.Combine(Repository.Root, project)).Descendants("PackageReference"))
                Assert.True(package.Attribute("Version") is null, $"{project} pins {package.Attribute("Include")?.Value} by itself.");
        }
    }

    [Fact]
    public void TorchSharp_lives_in_Training_alone()
    {
        foreach (string project in Repository.Files("src", "*.csproj").Where(project => !project.StartsWith("src/Training/", StringComparison.Ordinal)))
            Assert.DoesNotContain("TorchSharp", Repository.Read(project), StringComparison.OrdinalIgnoreCase);
    }

    private static IEnumerable<string> References(string project) =>
        XDocument.Load(Path.Combine(Repository.Root, project)).Descendants("ProjectReference")
            .Select(reference => Path.GetFileNameWithoutExtension(((string)reference.Attribute("Include")!).Replace('\\', '/')));
}
