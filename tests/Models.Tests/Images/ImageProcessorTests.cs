using System.Text.Json.Nodes;
using XDeepServe.Kernels;
using XDeepServe.Models.Images;
using XDeepServe.Models.Loading;

namespace XDeepServe.Models.Tests.Images;

/// <summary>Images against what Pillow makes of them the way Hugging Face's CLIP image processor does (tests/golden/images/make.py).</summary>
public class ImageProcessorTests
{
    private static readonly float[] Mean = [0.48145466f, 0.4578275f, 0.40821073f];
    private static readonly float[] Deviation = [0.26862954f, 0.26130258f, 0.27577711f];

    public static TheoryData<string> Names => [.. Cases().Select(item => (string)item["name"]!)];

    [Theory]
    [MemberData(nameof(Names))]
    public void Every_byte_is_what_the_reference_makes(string name)
    {
        JsonNode item = Cases().Single(item => (string)item["name"]! == name);
        RgbImage image = ImageDecoder.Decode(Convert.FromBase64String((string)item["file"]!));
        Assert.Equal(((int)item["width"]!, (int)item["height"]!), (image.Width, image.Height));
        float[] pixels = Processor(null).Process(image);
        byte[] expected = Convert.FromBase64String((string)item["bytes"]!);
        for (int i = 0; i < expected.Length; i++)
        {
            int channel = i % 3;
            int actual = (int)MathF.Round(((pixels[(channel * 14 * 14) + (i / 3)] * Deviation[channel]) + Mean[channel]) * 255);
            Assert.InRange(actual - expected[i], -(int)item["tolerance"]!, (int)item["tolerance"]!);
        }
    }

    [Fact]
    public void Values_are_normalised_as_the_reference_does_it()
    {
        JsonNode wanted = Root()["normalised"]!;
        float[] pixels = Processor(null).Process(Convert.FromBase64String((string)Cases().First()["file"]!));
        for (int channel = 0; channel < 3; channel++)
            Assert.Equal((float)wanted["values"]![channel]!, pixels[(((channel * 14) + (int)wanted["y"]!) * 14) + (int)wanted["x"]!], 1e-6f);
    }

    [Fact]
    public void Settings_come_from_the_models_file()
    {
        byte[] file = Convert.FromBase64String((string)Cases().First()["file"]!);
        float[] bytes = Processor("""{"size": {"height": 14, "width": 14}, "do_center_crop": false, "do_rescale": false, "do_normalize": false}""").Process(file);
        Assert.All(bytes, value => Assert.Equal(MathF.Round(value), value));
        Assert.Contains(bytes, value => value > 100);
        float[] published = Processor("""
            {
              "crop_size": {"height": 14, "width": 14}, "do_center_crop": true, "do_convert_rgb": true, "do_normalize": true, "do_rescale": true, "do_resize": true,
              "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_processor_type": "CLIPImageProcessor", "image_std": [0.26862954, 0.26130258, 0.27577711],
              "processor_class": "LlavaProcessor", "resample": 3, "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": 14}
            }
            """).Process(file);
        Assert.Equal(Processor(null).Process(file), published);
    }

    [Theory]
    [InlineData("""{"resample": 2}""", "resample")]
    [InlineData("""{"crop_size": 15}""", "crop_size")]
    [InlineData("""{"size": {"shortest_edge": 10}}""", "size")]
    [InlineData("""{"size": {"height": 14, "width": 15}}""", "size")]
    [InlineData("""{"image_mean": [1, 2]}""", "image_mean")]
    [InlineData("""{"image_std": [1, 0, 1]}""", "image_std")]
    [InlineData("""{"image_std": "wide"}""", "image_std")]
    public void Settings_that_cannot_be_kept_are_named(string json, string key) =>
        Assert.Contains(key, Assert.Throws<ModelLoadException>(() => Processor(json)).Message, StringComparison.Ordinal);

    private static ImageProcessor Processor(string? json) => ImageProcessor.Read(
        json is null ? null : JsonNode.Parse(json)!.AsObject(),
        new ImageConfig("llama", 1, 14, 7, 8, 8, 1, 1, 1e-5f, GeluForm.Quick, GeluForm.Exact, true, false));

    private static JsonNode Root() => JsonNode.Parse(File.ReadAllText(Path.Combine(Places.Golden("images"), "cases.json")))!;

    private static IEnumerable<JsonNode> Cases() => Root()["cases"]!.AsArray().Select(item => item!);
}
