using Microsoft.Playwright;
using XDeepServe.FlowServe;

namespace XDeepServe.Server.Tests;

/// <summary>The page at /, in a real browser.</summary>
public sealed class PageTests : IAsyncLifetime
{
    private const string Chromium = "/usr/bin/chromium";
    private readonly List<string> _complaints = [];
    private ServerHost _host = null!;
    private IPlaywright? _playwright;
    private IBrowser? _browser;

    public async ValueTask InitializeAsync()
    {
        if (!File.Exists(Chromium))
        {
            Assert.Skip($"{Chromium} is not installed: the page cannot be opened.");
        }
        _host = await ServerHost.StartAsync(ServerHost.Options with { ApiKeys = ["secret"] }, new EngineOptions { MaxModelLength = 8192, MaxSequences = 4 });
        _playwright = await Playwright.CreateAsync();
        _browser = await _playwright.Chromium.LaunchAsync(new() { ExecutablePath = Chromium, Args = ["--no-sandbox"] });
    }

    public async ValueTask DisposeAsync()
    {
        if (_browser is not null)
        {
            await _browser.DisposeAsync();
        }
        _playwright?.Dispose();
        if (_host is not null)
        {
            await _host.DisposeAsync();
        }
    }

    [Fact]
    public async Task APersonChatsStopsAndSeesTheLoad()
    {
        IPage page = await OpenAsync(new() { ViewportSize = new() { Width = 1280, Height = 800 } });
        await Assertions.Expect(page.Locator("#state")).ToHaveTextAsync("ready");
        await Assertions.Expect(page.Locator("#model")).ToContainTextAsync("tiny");

        await SendAsync(page, "hi");
        await Assertions.Expect(page.Locator(".message.error")).ToContainTextAsync("API key");
        await page.GetByLabel("API key").FillAsync("secret");
        await page.GetByLabel("Most new tokens").FillAsync("12");
        await page.GetByLabel("Temperature").FillAsync("0");
        await page.GetByRole(AriaRole.Button, new() { Name = "New chat" }).ClickAsync();
        await SendAsync(page, "<b>hi</b>");
        ILocator answer = page.Locator(".message.assistant");
        await Assertions.Expect(answer.Locator(".below")).ToContainTextAsync("12 tokens");
        await Assertions.Expect(page.Locator(".message.user .body")).ToHaveTextAsync("<b>hi</b>");
        await Assertions.Expect(page.Locator(".message.user b")).ToHaveCountAsync(0);

        await page.GetByLabel("Most new tokens").FillAsync("8000");
        await SendAsync(page, "again");
        ILocator stop = page.GetByRole(AriaRole.Button, new() { Name = "Stop" });
        await Assertions.Expect(stop).ToBeVisibleAsync();
        await Assertions.Expect(page.Locator("#running")).ToHaveTextAsync("1");
        await stop.ClickAsync();
        await Assertions.Expect(answer.Last.Locator(".below")).ToContainTextAsync("stopped");
        await Assertions.Expect(stop).ToBeHiddenAsync();
        await ServerHost.UntilAsync(async () => await _host.MetricAsync("vllm:num_requests_running") == 0, "the stopped answer ended");
        await Assertions.Expect(page.Locator("#running")).ToHaveTextAsync("0");
        // The refusal without a key is the only thing the browser may complain about.
        Assert.All(_complaints, text => Assert.Contains("401", text, StringComparison.Ordinal));
    }

    [Fact]
    public async Task ExpertsAreShownWhereRanksShareThem()
    {
        IPage page = await OpenAsync(new());
        await Assertions.Expect(page.Locator("#state")).ToHaveTextAsync("ready");
        await Assertions.Expect(page.Locator("#experts")).ToBeHiddenAsync(); // this engine has them all
        await Assertions.Expect(page.Locator("#drafts")).ToBeHiddenAsync();
        await page.RouteAsync("**/experts", route => route.FulfillAsync(new()
        {
            ContentType = "application/json",
            Body = """
                {"moves":2,"move_bytes":2097152,"longest_stall_seconds":0.0005,
                 "ranks":[{"name":"attention-0","slow":false,"batches":100,"stages":{"attention":0.05,"round_trip":0.02}},{"name":"expert-1","slow":true,"batches":10,"stages":{"moe":0.1}}],
                 "layers":[{"layer":1,"before":0.5,"after":0.9,"tokens":[30,10,0,0],"slots_before":[1,1,1,1],"slots":[3,1,1,1]}]}
                """,
        }));
        await Assertions.Expect(page.Locator("#heat-before-text")).ToHaveTextAsync("Before balancing: balancedness 0.50, 0 copies");
        await Assertions.Expect(page.Locator("#heat-after-text")).ToHaveTextAsync("After: balancedness 0.90, 2 copies");
        await Assertions.Expect(page.Locator("[data-rank='attention-0'] td")).ToHaveTextAsync("attention 500 · round trip 200");
        await Assertions.Expect(page.Locator("[data-rank='expert-1']")).ToContainTextAsync("expert-1 is slow");
        await Assertions.Expect(page.Locator("#moves")).ToHaveTextAsync("2 copies loaded (2.0 MiB), longest stall 0.50 ms");
        // The hot expert is the darkest; its copies share its tokens.
        int[] shades = await page.EvaluateAsync<int[]>("['heat-before', 'heat-after'].flatMap(id => [0, 1, 2].map(x => document.getElementById(id).getContext('2d').getImageData(x, 0, 1, 1).data[3]))");
        Assert.Equal([192, 64, 0, 64, 64, 0], shades);
        Assert.Empty(_complaints);
    }

    [Fact]
    public async Task FitsAPhone()
    {
        IPage page = await OpenAsync(new() { ViewportSize = new() { Width = 375, Height = 667 }, HasTouch = true, IsMobile = true, ColorScheme = ColorScheme.Dark });
        await Assertions.Expect(page.Locator("#send")).ToBeInViewportAsync();
        Assert.True(await page.EvaluateAsync<bool>("document.documentElement.scrollWidth <= innerWidth"));
        ILocator settings = page.GetByRole(AriaRole.Button, new() { Name = "Settings" });
        await Assertions.Expect(page.GetByLabel("Temperature")).ToBeHiddenAsync();
        await settings.TapAsync();
        await Assertions.Expect(page.GetByLabel("Temperature")).ToBeVisibleAsync();
        await Assertions.Expect(settings).ToHaveAttributeAsync("aria-expanded", "true");
        Assert.Empty(_complaints);
    }

    [Fact]
    public async Task EveryControlHasAName()
    {
        IPage page = await OpenAsync(new());
        int nameless = await page.EvaluateAsync<int>(
            "[...document.querySelectorAll('button, input, textarea, meter')].filter(e => !(e.textContent.trim() || e.labels?.length || e.ariaLabel)).length");
        Assert.Equal(0, nameless);
        Assert.Equal("en", await page.EvaluateAsync<string>("document.documentElement.lang"));
    }

    private static async Task SendAsync(IPage page, string text)
    {
        await page.GetByLabel("Message", new() { Exact = true }).FillAsync(text);
        await page.Keyboard.PressAsync("Enter");
    }

    private async Task<IPage> OpenAsync(BrowserNewContextOptions options)
    {
        IBrowserContext context = await _browser!.NewContextAsync(options);
        IPage page = await context.NewPageAsync();
        page.Console += (_, message) => Note(message.Type == "error", message.Text);
        page.PageError += (_, error) => Note(true, error);
        await page.GotoAsync(_host.Server.Url.ToString());
        return page;
    }

    private void Note(bool bad, string text)
    {
        if (bad)
        {
            lock (_complaints)
            {
                _complaints.Add(text);
            }
        }
    }
}
