<?php
// Calls our services by PHP's SoapClient. Reads a list of calls from standard input, as JSON:
//   [{"wsdl": URL, "key": KEY or null, "soap": "1.1" or "1.2", "operation": NAME or "?", "fields": {…},
//     "must": true, "location": URL}]
// Prints a list of the same length: {"operations"} for "?", {"result", "envelope"}, or {"fault", "status", "words"}.
// A key goes into the header, with the WSDL and with the call. "must" sends a header that nobody can understand,
// "location" calls another address than the WSDL names.
error_reporting(E_ALL & ~E_WARNING); // SoapClient warns of a WSDL that is refused, and throws as well
$clients = [];

function client_of(array &$clients, array $call): SoapClient
{
    $name = json_encode([$call["wsdl"], $call["key"], $call["soap"]]);
    $headers = $call["key"] ? ["header" => "X-Service-Key: {$call["key"]}"] : [];
    return $clients[$name] ??= new SoapClient($call["wsdl"], [
        "soap_version" => $call["soap"] === "1.2" ? SOAP_1_2 : SOAP_1_1,
        "cache_wsdl" => WSDL_CACHE_NONE,
        "stream_context" => stream_context_create(["http" => $headers]),
        "exceptions" => true,
        "trace" => true,
        "connection_timeout" => 5,
    ]);
}

function told(array &$clients, array $call): array
{
    try {
        $client = client_of($clients, $call);
        if ($call["operation"] === "?") {
            return ["operations" => $client->__getFunctions()];
        }
        $client->__setLocation($call["location"] ?? null);
        $must = isset($call["must"]) ? new SoapHeader("urn:unknown", "Unknown", "1", true) : null;
        $client->__setSoapHeaders($must);
        $result = $client->__soapCall($call["operation"], [$call["fields"]]);
        $is11 = str_contains($client->__getLastResponse(), "schemas.xmlsoap.org/soap/envelope");
        return ["result" => $result, "envelope" => $is11 ? "1.1" : "1.2"];
    } catch (SoapFault $fault) {
        $head = isset($client) ? $client->__getLastResponseHeaders() : null;
        $status = preg_match("~^HTTP/1.1 (\\d+)~", $head ?? "", $found) ? (int) $found[1] : null;
        return ["fault" => $fault->faultcode, "status" => $status, "words" => $fault->getMessage()];
    }
}

$calls = json_decode(stream_get_contents(STDIN), true);
echo json_encode(array_map(function ($call) use (&$clients) {
    return told($clients, $call);
}, $calls)), "\n";
