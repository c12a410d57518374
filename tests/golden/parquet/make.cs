// Writes the Parquet files beside it from the JSON lines beside it, with the libraries that others write them with: Apache Arrow's C++ (pandas, Hugging Face datasets)
// and DuckDB. Run it here: ImportDirectoryBuildProps=false ImportDirectoryPackagesProps=false dotnet run make.cs
#:package ParquetSharp@25.0.1.2
#:package DuckDB.NET.Data.Full@1.5.6.1
using System.Text.Json;
using Apache.Arrow;
using Apache.Arrow.Types;
using DuckDB.NET.Data;
using ParquetSharp;
using ParquetSharp.Arrow;

Field[] turn = [new("content", StringType.Default, true), new("role", StringType.Default, true)];
StructType turns = new(turn);

JsonElement[] rows = Read("conversations.jsonl");
Write("conversations.arrow.parquet", Compression.Snappy, 3, ParquetDataPageVersion.V1,
    ("prompt", Conversations(rows, "prompt")), ("chosen", Conversations(rows, "chosen")), ("rejected", Conversations(rows, "rejected")),
    ("score_chosen", Doubles(rows, "score_chosen")), ("score_rejected", Doubles(rows, "score_rejected")), ("subset", Words(rows, "subset")));

rows = Read("texts.jsonl");
Write("texts.arrow.parquet", Compression.Zstd, 2, ParquetDataPageVersion.V1,
    ("prompt", LargeTexts(rows, "prompt")), ("chosen", LargeTexts(rows, "chosen")), ("rejected", LargeTexts(rows, "rejected")),
    ("margin", Floats(rows, "margin")), ("subset", Words(rows, "subset")), ("turns", Integers(rows, "turns")), ("safe", Flags(rows, "safe")),
    // Columns that no pair has use for.
    ("created", new TimestampArray.Builder(Apache.Arrow.Types.TimeUnit.Microsecond, TimeZoneInfo.Utc).AppendRange(rows.Select(_ => DateTimeOffset.UnixEpoch)).Build()),
    ("day", new Date32Array.Builder().AppendRange(rows.Select(_ => DateTime.UnixEpoch)).Build()),
    ("bytes", Bytes(Enumerable.Range(0, rows.Length))));

// As Hugging Face datasets store images: structures of bytes and a path.
Write("images.arrow.parquet", Compression.Snappy, 2, ParquetDataPageVersion.V1,
    ("prompt", Texts(["What is it?", "Which two?"])), ("chosen", Texts(["A dot.", "A dot, a line."])), ("rejected", Texts(["A dog.", "Dogs."])), ("images", Images([[0], [1, 0]])));
// What Parquet.Net does not read.
Write("unread.arrow.parquet", Compression.Snappy, 3, ParquetDataPageVersion.V2,
    ("prompt", Conversations(Read("conversations.jsonl"), "prompt")), ("chosen", Conversations(Read("conversations.jsonl"), "chosen")), ("rejected", Conversations(Read("conversations.jsonl"), "rejected")));

using DuckDBConnection duck = new("DataSource=:memory:");
duck.Open();
Copy("conversations", "COMPRESSION zstd, ROW_GROUP_SIZE 2048");
Copy("texts", "COMPRESSION snappy, PARQUET_VERSION v2");

void Copy(string name, string options)
{
    using DuckDBCommand command = duck.CreateCommand();
    command.CommandText = $"COPY (SELECT * FROM read_json('{name}.jsonl')) TO '{name}.duckdb.parquet' (FORMAT parquet, {options})";
    command.ExecuteNonQuery();
}

static JsonElement[] Read(string path) => [.. File.ReadLines(path).Select(line => JsonDocument.Parse(line).RootElement)];

static void Write(string path, Compression compression, int group, ParquetDataPageVersion version, params (string Name, IArrowArray Values)[] columns)
{
    Schema schema = new(columns.Select(column => new Field(column.Name, column.Values.Data.DataType, true)), [new("huggingface", "{}")]);
    using WriterProperties properties = new WriterPropertiesBuilder().Compression(compression).DataPageVersion(version).Build();
    using ArrowWriterProperties arrow = new ArrowWriterPropertiesBuilder().StoreSchema().Build();
    using FileWriter writer = new(path, schema, properties, arrow);
    writer.WriteRecordBatch(new RecordBatch(schema, columns.Select(column => column.Values), columns[0].Values.Length), group);
    writer.Close();
}

static string? Text(JsonElement row, string field) => row.GetProperty(field).GetString();

static double? Number(JsonElement row, string field) => row.GetProperty(field) is { ValueKind: JsonValueKind.Number } value ? value.GetDouble() : null;

static StringArray Texts(IEnumerable<string?> texts) => new StringArray.Builder().AppendRange(texts).Build();

static DoubleArray Doubles(JsonElement[] rows, string field) => rows.Aggregate(new DoubleArray.Builder(), (all, row) => all.Append(Number(row, field))).Build();

static FloatArray Floats(JsonElement[] rows, string field) => rows.Aggregate(new FloatArray.Builder(), (all, row) => all.Append((float?)Number(row, field))).Build();

static Int64Array Integers(JsonElement[] rows, string field) => rows.Aggregate(new Int64Array.Builder(), (all, row) => all.Append((long?)Number(row, field))).Build();

static BooleanArray Flags(JsonElement[] rows, string field) => rows.Aggregate(new BooleanArray.Builder(), (all, row) => row.GetProperty(field) is { ValueKind: not JsonValueKind.Null } flag ? all.Append(flag.GetBoolean()) : all.AppendNull()).Build();

static DictionaryArray Words(JsonElement[] rows, string field)
{
    string[] words = [.. rows.Select(row => Text(row, field)).OfType<string>().Distinct()];
    Int32Array.Builder indices = new();
    foreach (JsonElement row in rows)
        _ = Text(row, field) is { } word ? indices.Append(System.Array.IndexOf(words, word)) : indices.AppendNull();
    return new DictionaryArray(new DictionaryType(Int32Type.Default, StringType.Default, false), indices.Build(), Texts(words));
}

static LargeStringArray LargeTexts(JsonElement[] rows, string field)
{
    using StringArray texts = Texts(rows.Select(row => Text(row, field)));
    ArrowBuffer.Builder<long> offsets = new();
    foreach (int offset in texts.ValueOffsets)
        offsets.Append(offset);
    return new LargeStringArray(new ArrayData(LargeStringType.Default, rows.Length, 0, 0, [ArrowBuffer.Empty, offsets.Build(), new ArrowBuffer(texts.Values.ToArray())]));
}

// The beginning of a PNG file (even) or of a JPEG.
static BinaryArray Bytes(IEnumerable<int> kinds) => kinds.Aggregate(new BinaryArray.Builder(), (all, kind) => all.Append(kind % 2 == 0 ? (ReadOnlySpan<byte>)[0x89, 0x50, 0x4E, 0x47] : [0xFF, 0xD8])).Build();

static ListArray Images(int[][] kinds)
{
    int[] flat = [.. kinds.SelectMany(some => some)];
    StructType image = new([new Field("bytes", BinaryType.Default, true), new Field("path", StringType.Default, true)]);
    return Lists(new StructArray(image, flat.Length, [Bytes(flat), Texts(flat.Select(kind => kind == 0 ? null : "a.jpg"))], ArrowBuffer.Empty, 0), kinds.Select(some => some.Length));
}

static ListArray Lists(StructArray items, IEnumerable<int> counts)
{
    ArrowBuffer.Builder<int> offsets = new();
    int offset = 0;
    offsets.Append(0);
    foreach (int count in counts)
        offsets.Append(offset += count);
    return new ListArray(new ListType(new Field("element", items.Data.DataType, true)), offsets.Length - 1, offsets.Build(), items, ArrowBuffer.Empty, 0);
}

ListArray Conversations(JsonElement[] all, string field)
{
    JsonElement[] messages = [.. all.SelectMany(row => row.GetProperty(field).EnumerateArray())];
    StructArray said = new(turns, messages.Length, [Texts(messages.Select(message => Text(message, "content"))), Texts(messages.Select(message => Text(message, "role")))], ArrowBuffer.Empty, 0);
    return Lists(said, all.Select(row => row.GetProperty(field).GetArrayLength()));
}
