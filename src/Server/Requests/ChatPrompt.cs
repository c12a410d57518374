using System.Text.Json;
using System.Text.Json.Nodes;
using XDeepServe.Models.Images;
using XDeepServe.Models.Text;
using XDeepServe.Server.Http;

namespace XDeepServe.Server.Requests;

/// <summary>Messages and how to turn them into a prompt; shared by chat completions and tokenisation.</summary>
internal sealed record ChatPrompt
{
    /// <summary>Role and content of each message.</summary>
    public required JsonArray Messages { get; init; }

    /// <summary>The messages' images, in order, as the model takes them.</summary>
    public required IReadOnlyList<float[]> Images { get; init; }

    /// <summary>Where they came from: data URLs and paths of files.</summary>
    public IReadOnlyList<string> Sources { get; init; } = [];

    /// <summary>Whether the prompt ends where the assistant's answer starts.</summary>
    public required bool AddGenerationPrompt { get; init; }

    /// <summary>Whether the answer goes on where the last message stops.</summary>
    public required bool ContinueFinalMessage { get; init; }

    /// <summary>Whether the tokenizer adds its own start token to what the template wrote.</summary>
    public required bool AddSpecialTokens { get; init; }

    /// <summary>Whether special tokens written in the messages become those tokens, as vLLM has it; else they are text.</summary>
    public bool ParseSpecial { get; init; } = true;

    /// <summary>Further variables for the template.</summary>
    public JsonObject? Variables { get; init; }

    /// <summary>Reads the fields of a request that holds one conversation.</summary>
    public static ChatPrompt Read(JsonFields fields, ServedModel model, ServerOptions options) => ReadAll(fields, model, options) is [{ } one]
        ? one
        : throw ApiException.BadRequest("'messages' must be one conversation here.", "messages");

    /// <summary>Reads the fields of a request that holds one conversation or a list of them.</summary>
    public static IReadOnlyList<ChatPrompt> ReadAll(JsonFields fields, ServedModel model, ServerOptions options)
    {
        fields.Refuse("chat_template", "templates come with the model, not with a request.");
        RefuseTools(fields);
        bool addGenerationPrompt = fields.Boolean("add_generation_prompt") ?? true;
        bool continueFinal = fields.Boolean("continue_final_message") ?? false;
        if (addGenerationPrompt && continueFinal)
        {
            throw ApiException.BadRequest("Set 'add_generation_prompt' to false to use 'continue_final_message'.", "continue_final_message");
        }
        bool addSpecialTokens = fields.Boolean("add_special_tokens") ?? false;
        bool parseSpecial = fields.Boolean("parse_special") ?? true;
        JsonObject? variables = ReadVariables(fields);
        return [.. ChatMessages.Conversations(fields).Select(conversation =>
        {
            GivenImages images = new(model, options);
            return new ChatPrompt
            {
                Messages = ChatMessages.Read(conversation.Messages, conversation.Path, images),
                Images = images.Pixels,
                Sources = images.Sources,
                AddGenerationPrompt = addGenerationPrompt,
                ContinueFinalMessage = continueFinal,
                AddSpecialTokens = addSpecialTokens,
                ParseSpecial = parseSpecial,
                Variables = variables,
            };
        })];
    }

    /// <summary>Renders the prompt's text; where special tokens are not parsed it is for <see cref="Tokenizer.EncodeQuoted"/>.</summary>
    /// <exception cref="ApiException">400 where the model has no tokenizer or template, or the last message cannot be continued.</exception>
    /// <exception cref="TemplateException">The template refuses the messages.</exception>
    public string Render(ServedModel model)
    {
        if (model.Tokenizer is not { } tokenizer)
        {
            throw ApiException.BadRequest("This server works on token ids only, and chat needs a tokenizer; use /v1/completions with token ids.", "messages");
        }
        if (model.Template is not { } template)
        {
            throw ApiException.BadRequest("The model has no chat template; use /v1/completions, or start the server with --chat-template.", "messages");
        }
        JsonArray messages = Spoken(tokenizer);
        JsonObject variables = new()
        {
            ["messages"] = ForTemplate(messages, model.Images),
            ["add_generation_prompt"] = AddGenerationPrompt,
            ["bos_token"] = tokenizer.BosToken,
            ["eos_token"] = tokenizer.EosToken,
        };
        foreach ((string name, JsonNode? value) in Variables ?? [])
        {
            variables[name] = value?.DeepClone();
        }
        string text = template.Render(variables);
        return ContinueFinalMessage ? CutAfterFinal(text, messages) : text;
    }

    /// <summary>Ids of a rendered prompt.</summary>
    public int[] Encode(Tokenizer tokenizer, string text) => ParseSpecial ? tokenizer.Encode(text, AddSpecialTokens) : tokenizer.EncodeQuoted(text, AddSpecialTokens);

    /// <summary>Ids of a rendered prompt with its images in place.</summary>
    /// <exception cref="ApiException">400 where the text holds the image's token itself.</exception>
    public (int[] Ids, PromptImage[] Images) Place(int[] ids, ServedModel model)
    {
        if (model.Images is not { } input || Images.Count == 0)
        {
            return (ids, []);
        }
        int found = ids.Count(id => id == input.Shape.TokenId);
        return found == Images.Count
            ? PromptImage.Place(ids, Images, input.Shape)
            : throw ApiException.BadRequest(
                $"The prompt holds {found} image tokens for {Images.Count} images. Leave '{input.Token}' out of the messages' text, and use a chat template that takes images.", "messages");
    }

    // The messages, with special tokens marked as text where they are not parsed.
    private JsonArray Spoken(Tokenizer tokenizer)
    {
        JsonArray messages = (JsonArray)Messages.DeepClone();
        foreach (JsonNode? message in ParseSpecial ? [] : messages)
        {
            if (message!["content"] is not JsonArray parts)
            {
                message["content"] = tokenizer.Quote((string?)message["content"] ?? "");
                continue;
            }
            foreach (JsonNode? part in parts)
            {
                if ((string?)part!["text"] is { } text)
                {
                    part["text"] = tokenizer.Quote(text);
                }
            }
        }
        return messages;
    }

    // A model of text alone gets what it always got: its messages have no parts.
    private static JsonArray ForTemplate(JsonArray spoken, ImageInput? input)
    {
        JsonArray messages = (JsonArray)spoken.DeepClone();
        foreach (JsonNode? message in input is null ? [] : messages)
        {
            message!["content"] = input!.ForTemplate(message["content"]!);
        }
        return messages;
    }

    // What the template writes behind the last message would end it.
    private static string CutAfterFinal(string text, JsonArray messages)
    {
        string final = ImageInput.Text(messages[^1]!["content"]!, null).Trim();
        int start = text.LastIndexOf(final, StringComparison.Ordinal);
        return final.Length > 0 && start >= 0
            ? text[..(start + final.Length)]
            : throw ApiException.BadRequest("'continue_final_message' is set, but the last message has no text that the template keeps.", "continue_final_message");
    }

    private static void RefuseTools(JsonFields fields)
    {
        fields.Ignore("parallel_tool_calls");
        bool none = false;
        if (fields.Find("tool_choice") is { } choice)
        {
            none = choice.ValueKind == JsonValueKind.String && choice.ValueEquals("none");
            bool automatic = choice.ValueKind == JsonValueKind.String && choice.ValueEquals("auto");
            if (!none && !automatic)
            {
                throw ApiException.BadRequest("'tool_choice' is not supported: tools are not available here; only 'none' is accepted.", "tool_choice");
            }
        }
        foreach (string field in (ReadOnlySpan<string>)["tools", "functions"])
        {
            if (fields.Find(field) is { } tools && !none && !(tools.ValueKind == JsonValueKind.Array && tools.GetArrayLength() == 0))
            {
                throw ApiException.BadRequest($"'{field}' is not supported: tools are not available here.", field);
            }
        }
        fields.Refuse("function_call", "tools are not available here.");
    }

    private static JsonObject? ReadVariables(JsonFields fields)
    {
        if (fields.Find("chat_template_kwargs") is not { } value)
        {
            return null;
        }
        if (value.ValueKind != JsonValueKind.Object)
        {
            throw ApiException.BadRequest("'chat_template_kwargs' must be an object.", "chat_template_kwargs");
        }
        JsonObject variables = JsonObject.Create(value.Clone())!;
        foreach (string name in (ReadOnlySpan<string>)["messages", "add_generation_prompt", "tools"])
        {
            if (variables.ContainsKey(name))
            {
                throw ApiException.BadRequest($"'chat_template_kwargs' may not set '{name}'; it has a field of its own.", "chat_template_kwargs");
            }
        }
        return variables;
    }
}
