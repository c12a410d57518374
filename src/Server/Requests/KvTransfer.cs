using System.Globalization;
using System.Net;
using System.Text.Json;
using XDeepServe.FlowServe;
using XDeepServe.FlowServe.Balancing;
using XDeepServe.FlowServe.DistFlow;
using XDeepServe.Server.Control;
using XDeepServe.Server.Control.Frontend;
using XDeepServe.Server.Http;

namespace XDeepServe.Server.Requests;

/// <summary>
/// <c>kv_transfer_params</c>, with which a router of its own sends a prompt to one server and goes on at another, as vLLM's connectors have it: a request with
/// <c>do_remote_decode</c> ends behind its first token and answers with the params of a request that goes on, with <c>do_remote_prefill</c>.
/// </summary>
/// <param name="Holds">Whether the prompt's keys and values are to be held for another request.</param>
/// <param name="Source">What is held for this one; null if it brings nothing.</param>
internal sealed record KvTransfer(bool Holds, KvSource? Source)
{
    private const string Field = "kv_transfer_params";

    /// <summary>Reads the field.</summary>
    /// <returns>Null where there is nothing to transfer.</returns>
    public static KvTransfer? Read(JsonFields fields, LoadedModel model)
    {
        if (fields.Find(Field) is not { } value)
        {
            return null;
        }
        if (model.Served.Engine is not ClusterEngine)
        {
            fields.Refuse(Field, "prefill and decode run in one place here.");
        }
        JsonFields given = new(value, Field);
        bool holds = given.Boolean("do_remote_decode") ?? false, fetches = given.Boolean("do_remote_prefill") ?? false;
        if (holds && fetches)
        {
            throw ApiException.BadRequest($"'{Field}' asks for do_remote_decode and do_remote_prefill; a request is one half or the other.", Field);
        }
        // Routers send a first request's fields along as nulls.
        return holds ? new KvTransfer(true, null) : fetches ? new KvTransfer(false, ReadSource(given)) : null;
    }

    /// <summary>Writes the params with which another request goes on.</summary>
    public static void Write(Utf8JsonWriter json, KvOffer offer, GenerationRequest request)
    {
        IPEndPoint where = ExecutorId.SiloOf(offer.Ticket.Owner).Endpoint;
        json.WriteStartObject(Field);
        json.WriteBoolean("do_remote_prefill"u8, true);
        json.WriteBoolean("do_remote_decode"u8, false);
        json.WriteString("remote_engine_id"u8, offer.Ticket.Owner);
        json.WriteString("remote_request_id"u8, string.Create(CultureInfo.InvariantCulture, $"{offer.Ticket.Group}-{offer.Ticket.Number}-{offer.Ticket.Positions}-{Digest(request.Prompt, request.CacheSalt):x16}"));
        json.WriteStartArray("remote_block_ids"u8);
        foreach (int block in offer.Blocks)
        {
            json.WriteNumberValue(block);
        }
        json.WriteEndArray();
        json.WriteString("remote_host"u8, where.Address.ToString());
        json.WriteNumber("remote_port"u8, where.Port);
        json.WriteNumber("tp_size"u8, 1);
        json.WriteEndObject();
    }

    /// <summary>The ticket of a request that goes on; null if it brings none.</summary>
    /// <exception cref="ApiException">What is held belongs to another prompt.</exception>
    public KvTicket? TicketFor(int[] prompt, string? salt) => Source is not { } source ? null
        : source.Digest == Digest(prompt, salt) ? source.Ticket
        : throw ApiException.BadRequest($"'{Field}' names keys and values of another prompt or cache salt.", Field);

    private static KvSource ReadSource(JsonFields given)
    {
        string owner = given.String("remote_engine_id") ?? "", name = given.String("remote_request_id") ?? "";
        try
        {
            ExecutorId.SiloOf(owner);
        }
        catch (ArgumentException)
        {
            throw ApiException.BadRequest($"'{Field}.remote_engine_id' names no worker: send what the first request was answered with.", Field);
        }
        string[] parts = name.Split('-');
        if (parts.Length != 4
            || !int.TryParse(parts[0], NumberStyles.None, CultureInfo.InvariantCulture, out int group)
            || !long.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out long number)
            || !int.TryParse(parts[2], NumberStyles.None, CultureInfo.InvariantCulture, out int positions)
            || !ulong.TryParse(parts[3], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ulong digest))
        {
            throw ApiException.BadRequest($"'{Field}.remote_request_id' is not as the first request was answered with.", Field);
        }
        return new KvSource(new KvTicket(owner, group, number, positions), digest);
    }

    private static ulong Digest(int[] prompt, string? salt) => PrefixChain.Next(RadixIndex.SaltHash(salt), prompt);
}

/// <summary>What is held for a request.</summary>
/// <param name="Ticket">Names it.</param>
/// <param name="Digest">Of the prompt that it belongs to.</param>
internal sealed record KvSource(KvTicket Ticket, ulong Digest);
