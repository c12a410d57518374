namespace XDeepServe.Models.Text.Templates;

/// <summary>The filters that a template may name.</summary>
internal static class Filters
{
    /// <summary>A filter, null if it is not supported.</summary>
    public static Filter? Find(string name) => TextFilters.Find(name) ?? ListFilters.Find(name) ?? ValueFilters.Find(name);
}
