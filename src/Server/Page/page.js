const byId = id => document.getElementById(id);
const log = byId('log'), input = byId('input'), send = byId('send'), stop = byId('stop'), side = byId('side');
const numbers = ['temperature', 'top_p', 'top_k', 'min_p', 'repetition_penalty', 'max_tokens', 'seed'];
const fields = ['system', ...numbers];

let conversation = []; // {role, content}
let running = null;    // AbortController of the answer on its way
let served = { model: null, chat: true };

// ---- settings: kept for this browser; the key only until the tab closes ----

function load() {
  try {
    const kept = JSON.parse(localStorage.getItem('settings') || '{}');
    for (const name of fields) byId(name).value = kept[name] ?? '';
    byId('key').value = sessionStorage.getItem('key') || '';
  } catch { /* storage may be forbidden: settings then last as long as the page */ }
}

function keep() {
  try {
    localStorage.setItem('settings', JSON.stringify(Object.fromEntries(fields.map(name => [name, byId(name).value]))));
    sessionStorage.setItem('key', byId('key').value);
  } catch { /* as above */ }
}

byId('settings').addEventListener('input', keep);
byId('settings').addEventListener('submit', event => event.preventDefault());
byId('settings').addEventListener('reset', () => setTimeout(keep));

function headers() {
  const key = byId('key').value.trim();
  return key ? { Authorization: `Bearer ${key}` } : {};
}

function requestBody() {
  const body = { model: served.model ?? undefined, stream: true, stream_options: { include_usage: true }, max_tokens: 512 };
  for (const name of numbers) {
    const value = byId(name).value.trim();
    if (value !== '' && Number.isFinite(Number(value))) body[name] = Number(value);
  }
  const system = byId('system').value.trim();
  if (served.chat) body.messages = [...(system ? [{ role: 'system', content: system }] : []), ...conversation];
  else body.prompt = (system ? system + '\n' : '') + conversation.map(message => message.content).join('\n');
  return body;
}

// ---- messages ----

function addMessage(role, text) {
  byId('welcome').hidden = true;
  const item = document.createElement('article');
  item.className = `message ${role}`;
  const who = document.createElement('p');
  who.className = 'who';
  who.textContent = { user: 'You', assistant: served.model ?? 'Model', error: 'Error' }[role];
  const body = document.createElement('div');
  body.className = 'body';
  item.append(who, body);
  log.append(item);
  render(body, text);
  scroll(true);
  return { item, body };
}

// Text stays text; only fenced code gets a block of its own.
function render(body, text) {
  const parts = text.split(/```[^\n`]*\n?/);
  body.replaceChildren(...parts.map((part, index) => {
    if (index % 2 === 0) return document.createTextNode(part);
    const block = document.createElement('pre');
    const code = document.createElement('code');
    code.textContent = part.replace(/\n$/, '');
    block.append(code);
    return block;
  }));
}

function scroll(always) {
  if (always || log.scrollHeight - log.scrollTop - log.clientHeight < 120) log.scrollTop = log.scrollHeight;
}

function addFooter(item, text, note) {
  const below = document.createElement('div');
  below.className = 'below';
  const copy = document.createElement('button');
  copy.type = 'button';
  copy.textContent = 'Copy';
  copy.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(text);
      copy.textContent = 'Copied';
    } catch {
      copy.textContent = 'Not allowed';
    }
    setTimeout(() => { copy.textContent = 'Copy'; }, 1500);
  });
  const figures = document.createElement('span');
  figures.textContent = note;
  below.append(copy, figures);
  item.append(below);
}

function setRunning(controller) {
  running = controller;
  send.hidden = controller !== null;
  stop.hidden = controller === null;
  log.setAttribute('aria-busy', String(controller !== null));
}

// ---- the answer ----

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split('\n\n');
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith('data: ')) continue;
      const data = line.slice(6);
      if (data === '[DONE]') return;
      yield JSON.parse(data);
    }
  }
}

async function failure(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `The server answered ${response.status}.`;
  }
}

async function answer(text) {
  const talk = conversation; // a new chat started meanwhile has another
  talk.push({ role: 'user', content: text });
  addMessage('user', text);
  const { item, body } = addMessage('assistant', '');
  item.classList.add('busy');
  const controller = new AbortController();
  setRunning(controller);
  const begin = performance.now();
  let first = 0, written = '', usage = null, reason = '', drawn = false;
  const draw = () => {
    drawn = false;
    render(body, written);
    scroll(false);
  };
  try {
    const response = await fetch(served.chat ? '/v1/chat/completions' : '/v1/completions', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...headers() },
      body: JSON.stringify(requestBody()),
      signal: controller.signal,
    });
    if (!response.ok) throw new Error(await failure(response));
    for await (const chunk of events(response)) {
      if (chunk.error) throw new Error(chunk.error.message);
      if (chunk.usage) usage = chunk.usage;
      const choice = chunk.choices?.[0];
      if (!choice) continue;
      const piece = choice.delta?.content ?? choice.text ?? '';
      if (piece && !first) first = performance.now();
      written += piece;
      if (choice.finish_reason) reason = choice.finish_reason;
      if (!drawn) {
        drawn = true;
        requestAnimationFrame(draw);
      }
    }
  } catch (error) {
    if (error.name === 'AbortError') reason = 'stopped';
    else {
      addMessage('error', error.message);
      if (!written) {
        item.remove();
        talk.pop();
        input.value ||= text;
        resize();
      }
    }
  }
  draw();
  item.classList.remove('busy');
  setRunning(null);
  if (written) {
    talk.push({ role: 'assistant', content: written });
    addFooter(item, written, note(begin, first, usage, reason));
  } else if (reason === 'stopped') {
    item.remove();
    talk.pop();
  }
  scroll(false);
  input.focus();
}

function note(begin, first, usage, reason) {
  const parts = [];
  if (usage) {
    const seconds = (performance.now() - first) / 1000;
    parts.push(`${usage.completion_tokens} tokens`);
    if (usage.completion_tokens > 1 && seconds > 0) parts.push(`${((usage.completion_tokens - 1) / seconds).toFixed(1)} tok/s`);
  }
  if (first) parts.push(`first after ${Math.round(first - begin)} ms`);
  if (reason === 'length') parts.push('cut at the token limit');
  if (reason === 'stopped') parts.push('stopped');
  return parts.join(' · ');
}

// ---- controls ----

function resize() {
  input.style.height = 'auto';
  input.style.height = `${input.scrollHeight}px`;
}

function submit() {
  const text = input.value.trim();
  if (!text || running) return;
  input.value = '';
  resize();
  answer(text);
}

input.addEventListener('input', resize);
input.addEventListener('keydown', event => {
  if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    submit();
  }
});
byId('form').addEventListener('submit', event => {
  event.preventDefault();
  submit();
});
stop.addEventListener('click', () => running?.abort());
byId('fresh').addEventListener('click', () => {
  running?.abort();
  conversation = [];
  for (const item of log.querySelectorAll('.message')) item.remove();
  byId('welcome').hidden = false;
  input.focus();
});
for (const starter of byId('starters').children) starter.addEventListener('click', () => !running && answer(starter.textContent));
byId('open').addEventListener('click', () => showSide(!side.classList.contains('shown')));
document.addEventListener('keydown', event => {
  if (event.key === 'Escape') showSide(false);
});

function showSide(shown) {
  side.classList.toggle('shown', shown);
  byId('open').setAttribute('aria-expanded', String(shown));
}

// ---- the engine's load ----

const history = new Array(60).fill(0);
let before = null;

async function poll() {
  try {
    const response = await fetch('/status', { cache: 'no-store' });
    if (response.ok) show(await response.json());
  } catch {
    setState('gone', 'not reachable');
  }
}

function setState(kind, text) {
  byId('dot').className = `dot ${kind}`;
  if (byId('state').textContent !== text) byId('state').textContent = text;
}

function show(status) {
  served = { model: status.model, chat: status.chat ?? true };
  byId('model').textContent = status.max_model_len ? `${status.model} · ${status.max_model_len} tokens of context` : status.model;
  byId('version').textContent = status.version;
  setState(status.state === 'ready' ? 'ready' : '', status.state);
  send.disabled = status.state !== 'ready';
  for (const [name, value] of Object.entries(status.defaults ?? {})) byId(name).placeholder = value;
  const now = performance.now();
  let output = 0, prompt = 0;
  if (before) {
    const seconds = (now - before.time) / 1000;
    output = Math.max(0, (status.generation_tokens_total - before.output) / seconds);
    prompt = Math.max(0, (status.prompt_tokens_total - before.prompt) / seconds);
  }
  before = { time: now, output: status.generation_tokens_total, prompt: status.prompt_tokens_total };
  history.push(output);
  history.shift();
  const top = Math.max(1, ...history);
  byId('line').setAttribute('points', history.map((value, index) => `${(index * 120 / 59).toFixed(1)},${(30 - 28 * value / top).toFixed(1)}`).join(' '));
  byId('running').textContent = status.requests_running;
  byId('waiting').textContent = status.requests_waiting;
  byId('output').textContent = output < 10 ? output.toFixed(1) : Math.round(output);
  byId('prompt').textContent = prompt < 10 ? prompt.toFixed(1) : Math.round(prompt);
  gauge('kv', status.kv_cache_usage);
  showWorkers(status.workers ?? []);
  byId('drafts').hidden = !status.draft_tokens_total;
  gauge('accepted', status.draft_tokens_total ? status.accepted_tokens_total / status.draft_tokens_total : 0);
  gauge('hits', status.prefix_cache_queries_total ? status.prefix_cache_hits_total / status.prefix_cache_queries_total : 0);
}

// Who serves: one entry for each Task Executor, one bar for each of its DP groups.
function showWorkers(workers) {
  byId('service').hidden = !workers.length;
  byId('workers').replaceChildren(...workers.map(worker => {
    const item = document.createElement('li');
    item.dataset.worker = worker.name;
    const name = document.createElement('div');
    name.className = 'name';
    name.append(text('span', worker.name), text('span', `${worker.role} · process ${worker.pid}${worker.host ? ` · ${worker.host}` : ''}`));
    const state = worker.silence_ms > 0 ? `has not answered for ${(worker.silence_ms / 1000).toFixed(1)} s` : worker.draining ? 'is ending' : null;
    const figures = text('p', state ?? `${worker.requests_running} running, ${worker.requests_waiting} waiting`
      + (worker.kv_transfers ? `, ${worker.kv_transfers} transfers (${(worker.kv_transfer_bytes / 1048576).toFixed(1)} MiB)` : ''));
    if (state && worker.silence_ms > 0) figures.className = 'silent';
    item.append(name, figures, ...worker.groups.map((usage, group) => {
      const meter = document.createElement('meter');
      Object.assign(meter, { min: 0, max: 1, low: 0.7, high: 0.9, optimum: 0, value: usage });
      meter.setAttribute('aria-label', `KV cache of DP group ${group}`);
      meter.title = `DP group ${group}: ${(100 * usage).toFixed(1)} % of the KV cache in use`;
      return meter;
    }));
    return item;
  }));
}

// ---- experts: asked for only while there is something to see ----

async function pollExperts() {
  try {
    const response = await fetch('/experts', { cache: 'no-store', headers: headers() });
    if (response.ok) showExperts(await response.json());
  } catch { /* the engine's state says that the server is gone */ }
}

function showExperts(experts) {
  const layers = experts.layers ?? [], ranks = experts.ranks ?? [];
  byId('experts').hidden = !ranks.length;
  if (!ranks.length) return;
  heat('heat-before', layers, 'slots_before', 'before', 'Before balancing');
  heat('heat-after', layers, 'slots', 'after', 'After');
  byId('stages').replaceChildren(...ranks.map(rank => {
    const row = document.createElement('tr');
    row.dataset.rank = rank.name;
    if (rank.slow) row.className = 'slow';
    row.append(text('th', rank.slow ? `${rank.name} is slow` : rank.name),
      text('td', Object.entries(rank.stages).map(([stage, seconds]) => `${stage.replace('_', ' ')} ${Math.round(1e6 * seconds / Math.max(1, rank.batches))}`).join(' · ')));
    return row;
  }));
  byId('moves').textContent = experts.moves ? `${experts.moves} copies loaded (${(experts.move_bytes / 1048576).toFixed(1)} MiB), longest stall ${(1000 * experts.longest_stall_seconds).toFixed(2)} ms` : 'No copies have been loaded.';
}

// A row for each layer, a column for each expert: tokens of each of its slots beside the layer's mean; copies make an expert paler.
function heat(id, layers, slots, balance, title) {
  const canvas = byId(id);
  canvas.parentElement.hidden = !layers.length;
  if (!layers.length) return;
  const width = layers[0].tokens.length;
  Object.assign(canvas, { width, height: layers.length });
  canvas.style.height = `${Math.max(24, 8 * layers.length)}px`;
  const pixels = canvas.getContext('2d').createImageData(width, layers.length);
  let copies = 0;
  layers.forEach((layer, y) => layer.tokens.forEach((tokens, x) => {
    const mean = layer.tokens.reduce((sum, one) => sum + one, 0) / width || 1;
    copies += layer[slots][x] - 1;
    pixels.data.set([217, 72, 15, Math.min(255, 64 * tokens / layer[slots][x] / mean)], 4 * (y * width + x));
  }));
  canvas.getContext('2d').putImageData(pixels, 0, 0);
  const mean = layers.reduce((sum, layer) => sum + layer[balance], 0) / layers.length;
  const told = `${title}: balancedness ${mean.toFixed(2)}, ${copies} copies`;
  canvas.setAttribute('aria-label', `Load of ${width} experts in ${layers.length} layers. ${told}`);
  byId(`${id}-text`).textContent = told;
}

function text(tag, content) {
  const element = document.createElement(tag);
  element.textContent = content;
  return element;
}

function gauge(id, share) {
  byId(id).value = share;
  byId(`${id}-text`).textContent = `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;
}

load();
poll();
pollExperts();
setInterval(() => document.hidden || poll(), 1000);
setInterval(() => document.hidden || pollExperts(), 2000);
input.focus();
