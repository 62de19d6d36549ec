// Calls our services by Node's soap package. Reads a list of calls from standard input, as JSON:
//   [{"wsdl": URL, "key": KEY or null, "soap": "1.1" or "1.2", "operation": NAME or "?", "fields": {…},
//     "must": true, "location": URL}]
// Prints a list of the same length: {"operations"} for "?", {"result", "envelope"}, or {"fault", "status", "words"}.
// A key goes into the header, with the WSDL and with the call. "must" sends a header that nobody can understand,
// "location" calls another address than the WSDL names.
"use strict";
const soap = require("soap");

const UNKNOWN_HEADER = '<x:Unknown xmlns:x="urn:unknown" soap:mustUnderstand="1">1</x:Unknown>';
const clients = new Map();

async function clientOf(call) {
  const name = JSON.stringify([call.wsdl, call.key, call.soap, call.location]);
  if (!clients.has(name)) {
    const headers = call.key ? { "X-Service-Key": call.key } : {};
    const options = { wsdl_headers: headers, forceSoap12Headers: call.soap === "1.2", disableCache: true };
    const client = await soap.createClientAsync(call.wsdl, options);
    if (call.key) client.addHttpHeader("X-Service-Key", call.key);
    clients.set(name, client);
  }
  return clients.get(name);
}

// The port of the wanted SOAP version, by the name of its binding.
function portOf(client, version) {
  const [[name, service]] = Object.entries(client.wsdl.definitions.services);
  const wanted = Object.keys(service.ports).find((port) => port.endsWith("12") === (version === "1.2"));
  return client[name][wanted];
}

async function told(call) {
  const client = await clientOf(call);
  if (call.location) client.setEndpoint(call.location);
  const port = portOf(client, call.soap);
  if (call.operation === "?") return { operations: Object.keys(port) };
  client.clearSoapHeaders();
  if (call.must) client.addSoapHeader(UNKNOWN_HEADER);
  const [result, raw] = await new Promise((resolve, reject) =>
    port[call.operation](call.fields, (error, parsed, text) => (error ? reject(error) : resolve([parsed, text]))),
  );
  return { result, envelope: /schemas\.xmlsoap\.org\/soap\/envelope/.test(raw) ? "1.1" : "1.2" };
}

function failed(error) {
  const fault = error.root && error.root.Envelope ? error.root.Envelope.Body.Fault : null;
  const status = error.response ? error.response.status : null;
  return { fault, status, words: String(error.message).slice(0, 300) };
}

async function main() {
  let text = "";
  for await (const part of process.stdin) text += part;
  const all = [];
  for (const call of JSON.parse(text)) all.push(await told(call).catch(failed));
  console.log(JSON.stringify(all));
}

main();
