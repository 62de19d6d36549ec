// Calls one operation by Node's soap package: node call.js WSDL-URL KEY 1.1|1.2 OPERATION FIELDS-AS-JSON
// Prints {"result": …} or {"fault": …}. The key goes into the header with the WSDL and with the call.
"use strict";
const soap = require("soap");

async function main() {
  const [url, key, version, operation, fields] = process.argv.slice(2);
  const headers = { "X-Service-Key": key };
  const client = await soap.createClientAsync(url, {
    wsdl_headers: headers,
    forceSoap12Headers: version === "1.2",
    disableCache: true,
  });
  client.addHttpHeader("X-Service-Key", key);
  const ports = Object.keys(client).filter((name) => name.endsWith("Async"));
  if (operation === "?") return { operations: ports };
  const [result, raw] = await client[`${operation}Async`](JSON.parse(fields));
  return { result, envelope: /schemas\.xmlsoap\.org\/soap\/envelope/.test(raw) ? "1.1" : "1.2" };
}

main().then(
  (told) => console.log(JSON.stringify(told)),
  (error) => {
    const fault = error.root && error.root.Envelope ? error.root.Envelope.Body.Fault : undefined;
    console.log(JSON.stringify({ fault, status: error.response && error.response.status, words: String(error.message).slice(0, 300) }));
    process.exitCode = 1;
  },
);
