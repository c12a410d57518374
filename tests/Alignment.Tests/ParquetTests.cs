using XDeepServe.Alignment.Data;
using XDeepServe.Alignment.Prompts;

namespace XDeepServe.Alignment.Tests;

/// <summary>Parquet as other libraries write it; <c>tests/golden/parquet/make.cs</c> made the files.</summary>
public sealed class ParquetTests
{
    [Theory]
    [InlineData("conversations", "arrow")] // lists of structures, a dictionary, snappy, three row groups
    [InlineData("conversations", "duckdb")] // zstd
    [InlineData("texts", "arrow")] // large strings, nullable columns, zstd, columns without use
    [InlineData("texts", "duckdb")] // snappy, the encodings of version 2
    public void What_others_write_is_read_as_the_JSON_lines_that_it_was_made_of(string name, string writer)
    {
        DataCounts expected = new(), counts = new();
        PreferencePair[] lines = [.. PreferenceData.Pairs(At($"{name}.jsonl"), expected)], pairs = [.. PreferenceData.Pairs(At($"{name}.{writer}.parquet"), counts)];
        Assert.Equal(expected.ToString(), counts.ToString());
        Assert.True(lines.Length >= 4);
        Assert.Equal(lines.Select(Plain), pairs.Select(Plain));
    }

    [Fact]
    public void Images_are_read_from_the_columns_that_hold_them()
    {
        Assert.Equal([["data:;base64,iVBORw=="], ["data:;base64,/9g=", "data:;base64,iVBORw=="]], PreferenceData.Pairs(At("images.arrow.parquet"), new DataCounts()).Select(pair => pair.Prompt[0].Images));
    }

    [Fact]
    public void What_the_reader_cannot_do_is_called_so()
    {
        string path = At("unread.arrow.parquet");
        string message = Assert.Throws<DataException>(() => PreferenceData.Pairs(path, new DataCounts()).Count()).Message;
        Assert.Contains($"{path}, row group 1: not a whole Parquet file, or one with data pages of version 2", message, StringComparison.Ordinal);
        Assert.Contains("prompt/list/element/content", message, StringComparison.Ordinal);
        Assert.Contains("write version 1, as pandas", message, StringComparison.Ordinal);
    }

    private static (string Prompt, string Chosen, string Rejected, double? Margin, string Subset) Plain(PreferencePair pair) =>
        (string.Join('|', pair.Prompt.Select(Said)), pair.Chosen, pair.Rejected, pair.Margin, pair.Subset);

    private static string Said(Message message) => $"{message.Role}: {message.Content}";

    private static string At(string name) => Path.Combine(AppContext.BaseDirectory, "parquet", name);
}
