import { randomBytes } from 'node:crypto'
import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import t from 'tap'
import { parse, parseAllDocuments } from 'yaml'
import { lintConfig } from '../../src/config/lint.ts'
import { loadConfig } from '../../src/config/load.ts'
import type { IConfigMap } from 'kubernetes-models/v1/ConfigMap'
import type { IContainer } from 'kubernetes-models/v1/Container'
import type { IDeployment } from 'kubernetes-models/apps/v1/Deployment'
import type { INetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1/NetworkPolicy'
import { at, render, type Manifest } from './kustomize.ts'
import { typeFaults } from './manifest-types.ts'

const root = resolve(import.meta.dirname, '../../k8s')
const overlays = ['ingress', 'sidecar'] as const
const rendered = Object.fromEntries(overlays.map((name) => [name, render(join(root, 'overlays', name))])) as Record<typeof overlays[number], Manifest[]>

t.test('what each overlay deploys holds to the types of Kubernetes, field by field', async (t) => {
  for (const name of overlays) t.strictSame(typeFaults(rendered[name]), [], name)
})

t.test('a misspelt field, a wrong type and an old API version do not pass that check', async (t) => {
  const seeded = (change: (manifest: Manifest) => unknown) => {
    const manifest = structuredClone(deployment('ingress')) as unknown as Manifest
    change(manifest)
    return typeFaults([manifest]).join(' ')
  }
  const container = (manifest: Manifest) => at(manifest, ['spec', 'template', 'spec', 'containers', 0]) as Record<string, unknown>
  t.equal(seeded(() => {}), '')
  t.match(seeded((manifest) => { container(manifest)['imagePullPolice'] = 'Always' }), /imagePullPolice.*does not exist in type 'I\w*Container'/)
  t.match(seeded((manifest) => { Object.assign(container(manifest)['securityContext'] as object, { readOnlyRootFileSystem: true }) }), /readOnlyRootFileSystem/)
  t.match(seeded((manifest) => { (at(manifest, ['spec']) as Record<string, unknown>)['replicas'] = 'one' }), /not assignable to type 'number'/)
  t.match(seeded((manifest) => Object.assign(manifest, { apiVersion: 'extensions/v1beta1' })), /not among what may be deployed/)
})

t.test('the overlays render as kubectl renders them, where there is a kubectl', async (t) => {
  for (const name of overlays) {
    const text = kubectl(['kustomize', join(root, 'overlays', name)])
    if (text === null) {
      t.comment('there is no kubectl here: rendered by the tests alone')
      return
    }
    t.same(byName(rendered[name]), byName(parseAllDocuments(text).map((document) => document.toJS() as Manifest)), name)
  }
})

t.test('every file under k8s/ is used, and every document in it is one of YAML', async (t) => {
  const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.yaml'))
  const used = files.filter((file) => file.endsWith('kustomization.yaml')).flatMap((file) => {
    const { resources = [], patches = [], configMapGenerator = [] } = parse(readFileSync(join(root, file), 'utf8')) as { resources?: string[], patches?: { path?: string }[], configMapGenerator?: { files: string[] }[] }
    const named = [...resources, ...patches.flatMap(({ path }) => path ?? []), ...configMapGenerator.flatMap((one) => one.files)]
    return named.map((path) => relative(root, resolve(root, file, '..', path)))
  })
  for (const file of files.filter((one) => !one.endsWith('kustomization.yaml'))) t.ok(used.includes(file), file)
  for (const file of files) for (const document of parseAllDocuments(readFileSync(join(root, file), 'utf8'))) t.strictSame(document.errors, [], file)
})

t.test('the configuration in each ConfigMap loads, and what it is warned of is meant', async (t) => {
  const warnings = Object.fromEntries(overlays.map((name) => {
    const folder = t.testdir({ 'master-key': `${randomBytes(32).toString('base64url')}\n` })
    const text = (find(name, 'ConfigMap', 'gatewarden') as unknown as IConfigMap).data?.['config.yaml'] ?? ''
    t.match(text, '/run/secrets/gatewarden/master-key')
    writeFileSync(join(folder, 'config.yaml'), text.replace('/run/secrets/gatewarden', folder))
    const loaded = loadConfig(join(folder, 'config.yaml'), {})
    if ('faults' in loaded) throw new Error(JSON.stringify(loaded.faults))
    const { config } = loaded
    t.same(config.listen, { host: '0.0.0.0', port: port(name, 'http') })
    t.same(config.admin, { host: '0.0.0.0', port: port(name, 'admin') }, 'the kubelet asks from outside')
    t.equal(config.storage, 'sqlite:/data/gatewarden.db')
    // After the draining, `start` cuts off a shutdown that hangs: 5 seconds later.
    t.ok(config.timeouts.drain + 5_000 < 1000 * (deployment(name).spec?.template.spec?.terminationGracePeriodSeconds ?? 0), 'drained before it is killed')
    return [name, lintConfig(config).map(({ path }) => path.join('.'))]
  }))
  t.same(warnings['sidecar'], ['admin.host'])
  t.same(warnings['ingress'], ['admin.host', 'routes.0.upstream', 'routes.1.upstream', 'routes.2.upstream'])
  const readme = readFileSync(join(root, 'README.md'), 'utf8')
  for (const path of Object.values(warnings).flat()) t.match(readme, `- \`${path.replace(/\.\d+/, '[]')}\``, `${path} is explained`)
})

t.test('all of it lies in one namespace, which lets nothing less than the restricted standard start', async (t) => {
  for (const name of overlays) {
    const namespace = find(name, 'Namespace', 'gatewarden')
    t.equal(namespace.metadata.labels?.['pod-security.kubernetes.io/enforce'], 'restricted', name)
    for (const { kind, metadata } of rendered[name]) t.equal(metadata.namespace, kind === 'Namespace' ? undefined : 'gatewarden', `${name}: ${kind} ${metadata.name}`)
  }
})

t.test('no secret stands in the tree: the one that is mounted is made beside it', async (t) => {
  for (const name of overlays) {
    t.notOk(rendered[name].some(({ kind }) => kind === 'Secret'), name)
    const mounted = deployment(name).spec?.template.spec?.volumes?.flatMap(({ secret }) => secret?.secretName ?? [])
    t.strictSame(mounted, ['gatewarden'], name)
    t.notOk(JSON.stringify(rendered[name]).includes('PRIVATE KEY'), name)
    const text = (find(name, 'ConfigMap', 'gatewarden') as unknown as IConfigMap).data?.['config.yaml'] ?? ''
    t.notMatch(text, /\b(masterKey|secret):/, `${name}: a file is named, not a secret`)
  }
  t.match(readFileSync(join(root, 'README.md'), 'utf8'), /kubectl create secret generic gatewarden --namespace gatewarden/, 'how, is said')
})

t.test('the gateway gets no token of the cluster', async (t) => {
  for (const name of overlays) {
    const pod = deployment(name).spec?.template.spec
    t.equal(pod?.serviceAccountName, 'gatewarden', name)
    t.equal(find(name, 'ServiceAccount', 'gatewarden')['automountServiceAccountToken'], false, name)
    t.equal(pod?.automountServiceAccountToken, false, name)
  }
})

t.test('every container holds to the restricted pod security standard', async (t) => {
  for (const name of overlays) {
    const pod = deployment(name).spec?.template.spec
    t.equal(pod?.securityContext?.runAsNonRoot, true, name)
    t.equal(pod?.securityContext?.seccompProfile?.type, 'RuntimeDefault', name)
    t.ok(['hostNetwork', 'hostPID', 'hostIPC'].every((key) => !(key in (pod ?? {}))), name)
    for (const volume of pod?.volumes ?? []) t.ok(['configMap', 'secret', 'persistentVolumeClaim', 'emptyDir'].some((kind) => kind in volume), `${name}: ${volume.name}`)
    const containers = [...pod?.containers ?? [], ...pod?.initContainers ?? []]
    t.ok(containers.length > 0)
    for (const container of containers) {
      t.match(container.securityContext, { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } }, `${name}: ${container.name}`)
      t.notOk('privileged' in (container.securityContext ?? {}))
      t.notOk(container.securityContext?.capabilities?.add, `${container.name} gets no capability back`)
      t.notOk(container.ports?.some(({ hostPort }) => hostPort !== undefined), `${container.name} takes no port of the node`)
      t.ok((container.securityContext?.runAsUser ?? pod?.securityContext?.runAsUser ?? 0) > 0)
      t.ok(container.resources?.requests?.['memory'] !== undefined && container.resources.limits?.['memory'] !== undefined, `${container.name} has its share of memory`)
    }
  }
})

t.test('the gateway is probed on the admin port, which no Service and no Ingress offers', async (t) => {
  for (const name of overlays) {
    const { startupProbe, livenessProbe, readinessProbe } = gatewarden(name)
    t.type(port(name, 'admin'), 'number', 'the name is one of its ports')
    t.same(livenessProbe?.httpGet, { path: '/livez', port: 'admin' })
    t.same(startupProbe?.httpGet, { path: '/livez', port: 'admin' })
    t.same(readinessProbe?.httpGet, { path: '/readyz', port: 'admin' })
    const service = find(name, 'Service', 'gatewarden')
    t.same(at(service, ['spec', 'ports']), [{ name: 'http', port: 80, targetPort: 'http' }])
    t.same(at(service, ['spec', 'selector']), deployment(name).spec?.selector.matchLabels, 'it finds the pods')
  }
})

t.test('the configuration is mounted as a folder, so that it is ever updated, and secrets as files', async (t) => {
  for (const name of overlays) {
    const pod = deployment(name).spec?.template.spec
    for (const { name: container, volumeMounts = [], env = [] } of [...pod?.containers ?? [], ...pod?.initContainers ?? []]) {
      for (const mount of volumeMounts) {
        t.notOk('subPath' in mount, `${container}: ${mount.name}`)
        t.ok(pod?.volumes?.some((volume) => volume.name === mount.name), `${mount.name} is a volume`)
      }
      t.notOk(env.some(({ valueFrom }) => valueFrom?.secretKeyRef !== undefined), 'no secret in the environment')
    }
    const mounts = Object.fromEntries((gatewarden(name).volumeMounts ?? []).map(({ name: volume, mountPath, readOnly }) => [volume, { mountPath, readOnly: readOnly === true }]))
    t.same(mounts, {
      config: { mountPath: '/etc/gatewarden', readOnly: true },
      secrets: { mountPath: '/run/secrets/gatewarden', readOnly: true },
      data: { mountPath: '/data', readOnly: false },
    })
    t.equal(pod?.volumes?.find((volume) => volume.name === 'secrets')?.secret?.defaultMode, 0o440)
    t.equal(at(find(name, 'ConfigMap', 'gatewarden'), ['metadata', 'name']), 'gatewarden', 'its name is without a hash')
  }
})

t.test('one embedded database has one pod, also while the pod is replaced', async (t) => {
  for (const name of overlays) {
    t.equal(deployment(name).spec?.replicas, 1)
    t.same(deployment(name).spec?.strategy, { type: 'Recreate' })
    t.same(at(find(name, 'PersistentVolumeClaim', 'gatewarden'), ['spec', 'accessModes']), ['ReadWriteOnce'])
  }
  t.equal(at(find('ingress', 'PodDisruptionBudget', 'gatewarden'), ['spec', 'maxUnavailable']), 1, 'and its node can be drained')
})

t.test('as a sidecar it starts first, keeps running, and forwards to a loopback that nothing else reaches', async (t) => {
  const pod = deployment('sidecar').spec?.template.spec
  t.same(pod?.initContainers?.map(({ name, restartPolicy }) => ({ name, restartPolicy })), [{ name: 'gatewarden', restartPolicy: 'Always' }])
  t.same(pod?.containers.map(({ name }) => name), ['application'])
  t.notOk(pod?.containers.some(({ ports }) => ports !== undefined), 'the application opens no port of its own')
  t.match(JSON.stringify(pod?.containers[0]?.command), '127.0.0.1')
  const policy = find('sidecar', 'NetworkPolicy', 'gatewarden') as unknown as INetworkPolicy
  t.same(policy.spec?.podSelector?.matchLabels, deployment('sidecar').spec?.template.metadata?.labels)
  t.same(policy.spec?.ingress, [{ ports: [{ protocol: 'TCP', port: 'http' }] }, fromNamespace('monitoring', 'admin')], 'the admin port is for monitoring alone')
  const text = (find('sidecar', 'ConfigMap', 'gatewarden') as unknown as IConfigMap).data?.['config.yaml'] ?? ''
  const upstreams = (parse(text) as { routes: { upstream: string }[] }).routes.map(({ upstream }) => upstream)
  t.ok(upstreams.length > 0 && upstreams.every((upstream) => upstream === 'http://127.0.0.1:3000'))
})

t.test('before an ingress only the gateway may reach the API, and only the controller the gateway', async (t) => {
  const policy = (name: string) => (find('ingress', 'NetworkPolicy', name) as unknown as INetworkPolicy).spec
  const labels = deployment('ingress').spec?.template.metadata?.labels
  const api = policy('api-behind-gatewarden')
  t.same(api?.ingress?.flatMap(({ from = [] }) => from), [{ podSelector: { matchLabels: labels } }])
  const own = policy('gatewarden')
  t.same(own?.podSelector?.matchLabels, labels)
  t.same(own?.policyTypes, ['Ingress', 'Egress'])
  t.same(own?.ingress, [fromNamespace('ingress-nginx', 'http'), fromNamespace('monitoring', 'admin')], 'each one port, and nobody else')
  t.same(api?.policyTypes, ['Ingress'])
  t.same(api?.podSelector?.matchLabels, own?.egress?.[0]?.to?.[0]?.podSelector?.matchLabels, 'the pods that it protects are those that the gateway may ask')
  t.same(at(find('ingress', 'Ingress', 'gatewarden'), ['spec', 'rules', 0, 'http', 'paths', 0, 'backend', 'service']), { name: 'gatewarden', port: { name: 'http' } })
})

function fromNamespace (namespace: string, port: string): unknown {
  return { from: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': namespace } } }], ports: [{ protocol: 'TCP', port }] }
}

function find (overlay: typeof overlays[number], kind: string, name: string): Manifest {
  const found = rendered[overlay].find((one) => one.kind === kind && one.metadata.name === name)
  if (found === undefined) throw new Error(`${overlay} has no ${kind} ${name}`)
  return found
}

function deployment (overlay: typeof overlays[number]): IDeployment {
  return find(overlay, 'Deployment', 'gatewarden') as unknown as IDeployment
}

function gatewarden (overlay: typeof overlays[number]): IContainer {
  const pod = deployment(overlay).spec?.template.spec
  const found = [...pod?.containers ?? [], ...pod?.initContainers ?? []].find(({ name }) => name === 'gatewarden')
  if (found === undefined) throw new Error(`${overlay} has no gateway`)
  return found
}

function port (overlay: typeof overlays[number], name: string): number | undefined {
  return gatewarden(overlay).ports?.find((one) => one.name === name)?.containerPort
}

function byName (manifests: readonly Manifest[]): Record<string, Manifest> {
  return Object.fromEntries(manifests.map((manifest) => [`${manifest.kind} ${manifest.metadata.name}`, manifest]))
}

function kubectl (args: readonly string[]): string | null {
  try {
    return execFileSync('kubectl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
    throw error
  }
}
