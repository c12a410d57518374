// Runs the official JavaScript client against a server: node client.mjs BASE_URL. Prints one JSON object.
import OpenAI from 'openai';

const client = new OpenAI({ baseURL: process.argv[2], apiKey: 'secret', maxRetries: 0 });
const messages = [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'hi' }];
const options = { model: 'tiny', messages, max_completion_tokens: 8, temperature: 0 };

const models = [];
for await (const model of client.models.list()) models.push(model.id);
const one = await client.models.retrieve('tiny');

const whole = await client.chat.completions.create({ ...options, logprobs: true, top_logprobs: 2 });

let text = '', finish = null, usage = null, role = null;
const stream = await client.chat.completions.create({ ...options, stream: true, stream_options: { include_usage: true } });
for await (const chunk of stream) {
  if (chunk.usage) usage = chunk.usage;
  const choice = chunk.choices[0];
  role ??= choice?.delta.role;
  text += choice?.delta.content ?? '';
  finish = choice?.finish_reason ?? finish;
}

// The helper that gathers a stream checks the order of its events.
const gathered = await client.chat.completions.stream({ ...options }).finalChatCompletion();

const completion = await client.completions.create({ model: 'tiny', prompt: ['abc', 'de'], max_tokens: 4, temperature: 0, echo: true });

const errors = [];
for (const bad of [{ model: 'nope' }, { temperature: -1 }, { messages: [] }]) {
  try {
    await client.chat.completions.create({ ...options, ...bad });
    errors.push(null);
  } catch (error) {
    errors.push({ kind: error.constructor.name, status: error.status, param: error.param });
  }
}
let refused = null;
try {
  await new OpenAI({ baseURL: process.argv[2], apiKey: 'wrong', maxRetries: 0 }).models.list();
} catch (error) {
  refused = error.constructor.name;
}

const left = await client.chat.completions.create({ ...options, max_completion_tokens: 400, stream: true });
for await (const chunk of left) if (chunk.choices[0].delta.content) break;

console.log(JSON.stringify({
  models, one: one.id, whole: whole.choices[0].message.content, logprobs: whole.choices[0].logprobs.content.length,
  wholeUsage: whole.usage, text, finish, usage, role, gathered: gathered.choices[0].message.content,
  completion: completion.choices.map(choice => choice.text), errors, refused,
}));
