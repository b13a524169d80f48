// An OpenID Connect provider for oidc_test.go. It prints one line of JSON when
// it listens: its issuer, and a refresh token as a person's sign-in would give.
// It ends when its standard input does.
import { createRequire } from 'node:module';
import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';
import { once } from 'node:events';

const require = createRequire(process.env.DOWNBEAT_OIDC_PROVIDER + '/node_modules/');
const { Provider, errors } = await import(pathToFileURL(require.resolve('oidc-provider')));
const keys = JSON.parse(process.env.CLIENT_KEYS);

const server = createServer();
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const issuer = `http://127.0.0.1:${server.address().port}`;

const client = (id, method, more) => ({
  client_id: id, client_secret: id + '-secret-that-is-long-enough-for-hs256', token_endpoint_auth_method: method,
  grant_types: ['client_credentials'], response_types: [], redirect_uris: [], ...more,
});
const provider = new Provider(issuer, {
  clients: [
    client('basic', 'client_secret_basic'),
    client('post', 'client_secret_post'),
    client('hs', 'client_secret_jwt'),
    client('rs', 'private_key_jwt', { jwks: { keys: [keys[0]] } }),
    client('es', 'private_key_jwt', { jwks: { keys: [keys[1]] }, token_endpoint_auth_signing_alg: 'ES256' }),
    client('person', 'client_secret_post', {
      grant_types: ['refresh_token', 'authorization_code'], response_types: ['code'], redirect_uris: ['http://127.0.0.1/done'],
    }),
  ],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => 'urn:api',
      getResourceServerInfo: () => ({ scope: 'read write', audience: 'api', accessTokenTTL: 120, accessTokenFormat: 'opaque' }),
    },
  },
  ttl: { AccessToken: 120, ClientCredentials: 120, Grant: 3600, RefreshToken: 3600 },
  rotateRefreshToken: true,
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
});
server.on('request', provider.callback());

const person = await provider.Client.find('person');
const grant = new provider.Grant({ accountId: 'ada', clientId: 'person' });
grant.addOIDCScope('openid offline_access');
grant.addResourceScope('urn:api', 'read write');
const token = new provider.RefreshToken({
  accountId: 'ada', client: person, grantId: await grant.save(), gty: 'authorization_code',
  scope: 'openid offline_access read', resource: 'urn:api', iat: Math.floor(Date.now() / 1000),
});
console.log(JSON.stringify({ issuer, refreshToken: await token.save() }));
process.stdin.on('end', () => process.exit(0)).resume();
